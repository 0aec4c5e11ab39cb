"""Whole batches, each a function of its number: what the loader's worker processes run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from zoo.reinforced_data.loading.mixture import Mixture
from zoo.reinforced_data.loading.training_samples import TrainingSamples
from zoo.reinforced_data.randomness import keyed_rng

Batch = dict[str, Tensor]
Tokenize = Callable[[list[str]], Tensor]


@dataclass(frozen=True)
class Slice:
    """The part of every global batch that is made here."""

    batch_size: int
    """Samples of this part."""
    rank: int
    world_size: int

    @property
    def global_batch(self) -> int:
        """Samples of all ranks' parts."""
        return self.batch_size * self.world_size

    def start(self, number: int) -> int:
        """Return the place of the first sample of this part of global batch `number`."""
        return (number * self.world_size + self.rank) * self.batch_size


class Batches(Dataset[Batch | ValueError | OSError]):
    """The batches by number; an error is returned, since torch would bury it in a trace."""

    def __init__(
        self,
        plan: Mixture,
        samples: Sequence[TrainingSamples],
        tokenize: Tokenize,
        part: Slice,
        seed: int,
    ) -> None:
        """`samples` are the same ones in several sizes; `seed` draws which of them a batch has."""
        self._plan, self._samples = plan, samples
        self._tokenize, self._part, self._seed = tokenize, part, seed

    def __getitem__(self, number: int) -> Batch | ValueError | OSError:
        # Drawn by the number of the global batch: all ranks have the same size.
        drawn = keyed_rng(self._seed, "image size", number).integers(len(self._samples))
        source = self._samples[int(drawn)]
        start = self._part.start(number)
        try:
            places = self._plan.places(start, start + self._part.batch_size)
            samples = [source.read(data_set, place) for data_set, place in places]
            keys = [key for key in samples[0] if all(key in one for one in samples)]
            return {key: self._join(key, [one[key] for one in samples]) for key in keys}
        except (ValueError, OSError) as error:
            return error

    def _join(self, key: str, values: list[Any]) -> Tensor:
        if isinstance(values[0], str):
            return self._tokenize(values)
        if key == "image":
            return _stack_images(values)
        return torch.from_numpy(np.stack(values))


def _stack_images(images: list[np.ndarray]) -> Tensor:
    """(S, S, 3) each -> (B, 3, S, S), colours first in memory too: one copy of each picture."""
    height, width, colours = images[0].shape
    batch = np.empty((len(images), colours, height, width), np.uint8)
    np.stack([image.transpose(2, 0, 1) for image in images], out=batch)
    return torch.from_numpy(batch)
