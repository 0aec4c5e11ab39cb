"""Training batches from shards, and from their sidecars when they are reinforced.

A batch is a dict of tensors:

    image                    uint8  (B, 3, S, S)   one augmentation of each picture, 0…255
    text                     int64  (B, T)         one ground-truth caption of each

and, reinforced, for every teacher NAME (`synthetic` only where captions are stored):

    synthetic_text           int64  (B, T)         one synthetic caption of each
    teacher_image.NAME       float32 (B, D_k)      the teacher's embedding of that very augmentation
    teacher_text.NAME        float32 (B, D_k)      … of that ground-truth caption
    teacher_synthetic.NAME   float32 (B, D_k)      … of that synthetic caption

A reinforced picture shows its first ground-truth caption: the one whose embedding is stored.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from zoo.reinforced_data.augmentation.policy import AugmentationPolicy
from zoo.reinforced_data.loading.training_samples import PlainSamples, ReinforcedSamples
from zoo.reinforced_data.randomness import keyed_rng
from zoo.reinforced_data.shards.find import find_shards
from zoo.reinforced_data.shards.index import ShardIndex
from zoo.reinforced_data.sidecars.header import TeacherInfo
from zoo.reinforced_data.sidecars.sidecar import Sidecar, sidecar_path

Batch = dict[str, Tensor]
Tokenize = Callable[[list[str]], Tensor]


class Loader:
    """Batches in an order that (seed, epoch) decides, whatever the number of worker processes.

    Iterating yields the rest of the present epoch, then the next iteration is the next epoch. Each
    epoch shows every sample once, less the last, partial batch. `state_dict` taken after a batch
    leads on to the batch after it.
    """

    def __init__(
        self,
        shards: str | Path | Sequence[str | Path],
        *,
        tokenize: Tokenize,
        image_size: int,
        batch_size: int,
        reinforced: bool = False,
        policy: AugmentationPolicy | None = None,
        seed: int = 0,
        num_workers: int = 0,
    ) -> None:
        """Index the shards and open their sidecars.

        `policy` draws the augmentations of plain training; those of reinforced training are stored.
        Raises ValueError for damaged or mismatched shards and sidecars and for fewer samples than a
        batch, FileNotFoundError for a sidecar that is not there.
        """
        if reinforced and policy is not None:
            raise ValueError("Reinforced data have their augmentations stored; leave out policy.")
        indices = [ShardIndex(path) for path in find_shards(shards)]
        if reinforced:
            sidecars = [_open_sidecar(index) for index in indices]
            _check_alike(sidecars)
            self.teachers: dict[str, TeacherInfo] = sidecars[0].teachers
            self._samples = ReinforcedSamples(indices, sidecars, image_size, seed)
        else:
            self.teachers = {}
            self._samples = PlainSamples(indices, policy or AugmentationPolicy(), image_size, seed)
        if not 1 <= batch_size <= len(self._samples):
            raise ValueError(
                f"batch_size is {batch_size} but there are {len(self._samples)} usable samples; "
                "give at least one sample a batch and one whole batch an epoch."
            )
        self.seed, self.batch_size = seed, batch_size
        self.epoch, self.position = 0, 0
        self._loader = DataLoader(
            _Batches(self._samples, tokenize),
            sampler=_Order(self),
            batch_size=None,  # the sampler's items are whole batches
            num_workers=num_workers,
            persistent_workers=num_workers > 0,
            generator=torch.Generator(),  # its own: torch's global random state stays untouched
        )

    def __len__(self) -> int:
        """Batches an epoch."""
        return len(self._samples) // self.batch_size

    @property
    def samples(self) -> int:
        """Usable samples of all shards."""
        return len(self._samples)

    def __iter__(self) -> Iterator[Batch]:
        for batch in self._loader:
            if isinstance(batch, ValueError):
                raise batch
            self.position += 1
            yield batch
        self.epoch, self.position = self.epoch + 1, 0

    def state_dict(self) -> dict[str, int]:
        """Return the place after the last batch given out, and what it holds for."""
        return {"epoch": self.epoch, "position": self.position} | self._identity()

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Continue there. Raises ValueError when data, seed or batch size are others."""
        for name, value in self._identity().items():
            if state[name] != value:
                raise ValueError(
                    f"The loader's state was saved with {name} = {state[name]} but it is {value} "
                    "now; continue with the same data, seed and batch size."
                )
        self.epoch, self.position = state["epoch"], state["position"]

    def _identity(self) -> dict[str, int]:
        return {"seed": self.seed, "batch_size": self.batch_size, "samples": self.samples}


class _Order:
    """(epoch, sample) of every batch that the present epoch still has to give."""

    def __init__(self, loader: Loader) -> None:
        self._loader = loader

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        epoch, size = self._loader.epoch, self._loader.batch_size
        order = keyed_rng(self._loader.seed, "order", epoch).permutation(self._loader.samples)
        for batch in range(self._loader.position, len(self._loader)):
            yield [(epoch, int(i)) for i in order[batch * size : (batch + 1) * size]]


class _Batches(Dataset[Batch | ValueError]):
    """Whole batches; an error is returned, since torch would bury it in a worker's trace."""

    def __init__(self, samples: PlainSamples | ReinforcedSamples, tokenize: Tokenize) -> None:
        self._samples, self._tokenize = samples, tokenize

    def __getitem__(self, places: list[tuple[int, int]]) -> Batch | ValueError:
        try:
            samples = [self._samples[place] for place in places]
            return {key: self._join([sample[key] for sample in samples]) for key in samples[0]}
        except ValueError as error:
            return error

    def _join(self, values: list[Any]) -> Tensor:
        if isinstance(values[0], str):
            return self._tokenize(values)
        return torch.from_numpy(np.stack(values))


def _open_sidecar(index: ShardIndex) -> Sidecar:
    sidecar = Sidecar.open(sidecar_path(index.path))
    sidecar.check_shard(index.path, index.keys)
    return sidecar


def _check_alike(sidecars: Sequence[Sidecar]) -> None:
    """Raise unless all sidecars hold the same teachers, kind of augmentations and captions."""
    first = sidecars[0]
    for sidecar in sidecars[1:]:
        for name in ("teachers", "augmentation", "captions"):
            ours, theirs = getattr(first.header, name), getattr(sidecar.header, name)
            if ours != theirs:
                raise ValueError(
                    f"{name} is {ours} in '{first.path}' but {theirs} in '{sidecar.path}'; "
                    "reinforce all shards alike."
                )
