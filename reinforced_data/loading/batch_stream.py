"""The place in an endless sequence of samples, and its batches from there on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from zoo.reinforced_data.loading.batches import Batch, Slice


class BatchStream(ABC):
    """Batches of an endless sequence of samples that the seed alone decides.

    Every pass shows its samples and the next one follows without a seam. All ranks together make
    the global batches that one rank would make with a batch `world_size` times as large. Neither
    the number of ranks nor of worker processes changes them.

    Iterating yields the batches that begin in the present epoch, then the next iteration is the
    next epoch. `state_dict` taken after a batch leads on to the batch after it.
    """

    def __init__(self, part: Slice, samples: int) -> None:
        """`samples`: of an epoch. Raises ValueError for fewer samples than a global batch."""
        if not 1 <= part.global_batch <= samples:
            ranks = f" on {part.world_size} ranks" if part.world_size > 1 else ""
            raise ValueError(
                f"batch_size is {part.batch_size}{ranks} but there are {samples} usable samples; "
                "give at least one sample a batch and one whole batch an epoch."
            )
        self._part, self.samples = part, samples
        self.position = 0
        """Number of the next global batch."""
        self._stream: Iterator[Any] | None = None

    @abstractmethod
    def _start(self) -> Iterator[Any]:
        """The batches from the present place on, or in place of one the error that it ended in."""

    @abstractmethod
    def _identity(self) -> dict[str, int | str]:
        """What the sequence depends on."""

    def _received(self, made: Any) -> Batch:
        """Return the batch in what the stream gave."""
        return made

    @property
    def epoch(self) -> int:
        """The epoch in which the next batch begins, from 0."""
        return self.position * self._part.global_batch // self.samples

    def __len__(self) -> int:
        """Batches that begin in the present epoch; the next may have one more or less."""
        return self._first_batch(self.epoch + 1) - self._first_batch(self.epoch)

    def __iter__(self) -> Iterator[Batch]:
        end = self._first_batch(self.epoch + 1)
        while self.position < end:
            yield self._next()

    def state_dict(self) -> dict[str, int | str]:
        """Return the place after the last batch given out, and what it holds for."""
        return {"position": self.position} | self._identity()

    def load_state_dict(self, state: Mapping[str, int | str]) -> None:
        """Continue there, with any number of ranks and workers.

        Raises ValueError when data, seed or global batch size are others.
        """
        for name, value in self._identity().items():
            if state.get(name) != value:
                raise ValueError(
                    f"The loader's state was saved with {name} = {state.get(name)} but it is "
                    f"{value} now; continue with the same data, seed and batch size."
                )
        self.position, self._stream = int(state["position"]), None

    def _next(self) -> Batch:
        # Workers go on across epochs: the stream ends only where the place is changed.
        if self._stream is None:
            self._stream = self._start()
        made = next(self._stream)
        if isinstance(made, ValueError | OSError):
            self._stream = None
            raise made
        self.position += 1
        return self._received(made)

    def _first_batch(self, epoch: int) -> int:
        return -(-epoch * self.samples // self._part.global_batch)


def made_by_workers(
    batches: Dataset[Any],
    requests: Iterable[Any],
    *,
    num_workers: int,
    pin_memory: bool,
    worker_init: Callable[[int], None] | None = None,
) -> Iterator[Any]:
    """Return what `batches` makes of each of the requests, in their order and ahead of use.

    `num_workers` processes make them, or this one without any.
    """
    return iter(
        DataLoader(
            batches,
            sampler=requests,
            batch_size=None,  # the sampler's items are whole batches
            num_workers=num_workers,
            pin_memory=pin_memory,
            worker_init_fn=worker_init,
            generator=torch.Generator(),  # its own: torch's global random state stays untouched
        )
    )
