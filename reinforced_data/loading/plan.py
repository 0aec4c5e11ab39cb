"""Which sample comes at which place of an endless sequence: a pure function of the place.

A pass over a data set permutes the shards, takes them in windows of some, and permutes the samples
of each window together; the next pass follows without a seam. So what has to be remembered of a run
is one number, nothing depends on how many processes share the work, and a process keeps only the
shards of one window open, however many there are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from zoo.reinforced_data.loading.repeats import Repeats
from zoo.reinforced_data.randomness import keyed_rng

WINDOW = 16
"""Shards whose samples are mixed."""


class Place(NamedTuple):
    """One showing of one sample."""

    epoch: int
    """The pass over the data set, from 0."""
    shard: int
    sample: int
    """Among the usable samples of the shard."""
    copy: int
    """0, or k for the k-th repetition in the same pass."""


class _Window(NamedTuple):
    epoch: int
    start: int
    """Place of its first showing in the pass."""
    showings: np.ndarray
    """shard, sample, copy: int64 (n, 3), in the order shown."""


class SamplePlan:
    """The endless sequence of showings of one data set."""

    def __init__(
        self,
        sizes: Sequence[int] | np.ndarray,
        *key: str | int,
        window: int = WINDOW,
        repeats: Repeats | None = None,
    ) -> None:
        """`sizes`: usable samples of each shard, every one shown once a pass unless `repeats`.

        `key` names the sequence, e.g. a seed. At least one sample is shown in a pass.
        """
        self._sizes, self._key = np.asarray(sizes, np.int64), key
        self._shards_mixed, self._repeats = window, repeats
        self._length = len(repeats) if repeats else int(self._sizes.sum())
        assert self._length > 0
        self._order = -1, np.empty(0, np.int64), np.empty(0, np.int64)
        self._window = _Window(-1, 0, np.empty((0, 3), np.int64))

    def __len__(self) -> int:
        """Showings a pass."""
        return self._length

    def places(self, start: int, stop: int) -> list[Place]:
        """Return the showings at `start` … `stop` - 1 of the sequence.

        Quick when the calls ask for growing places: the window of the last call is kept.
        """
        found: list[Place] = []
        while start < stop:
            epoch, begin = divmod(start, self._length)
            window = self._window_of(epoch, begin)
            first = begin - window.start
            part = window.showings[first : first + stop - start]
            found += [Place(epoch, *showing) for showing in part.tolist()]
            start += len(part)
        return found

    def _window_of(self, epoch: int, begin: int) -> _Window:
        kept = self._window
        if kept.epoch != epoch or not 0 <= begin - kept.start < len(kept.showings):
            self._window = self._make_window(epoch, begin)
        return self._window

    def _make_window(self, epoch: int, begin: int) -> _Window:
        shards, starts = self._order_of(epoch)
        edges = starts[:: self._shards_mixed]
        number = int(np.searchsorted(edges, begin, side="right")) - 1
        first = number * self._shards_mixed
        parts = [self._showings(epoch, shard) for shard in shards[first:][: self._shards_mixed]]
        rng = keyed_rng(*self._key, "window", epoch, number)
        return _Window(epoch, int(edges[number]), rng.permutation(np.concatenate(parts)))

    def _order_of(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """The shards in the order of a pass, and how many showings come before each of them."""
        if self._order[0] != epoch:
            shards = keyed_rng(*self._key, "shards", epoch).permutation(len(self._sizes))
            counts = self._repeats.counts(epoch) if self._repeats else self._sizes
            starts = np.cumsum(counts[shards]) - counts[shards]
            self._order = epoch, shards, starts
        return self._order[1:]

    def _showings(self, epoch: int, shard: int) -> np.ndarray:
        """shard, sample, copy of a shard's showings: int64 (n, 3)."""
        if self._repeats:
            samples, copies = self._repeats.expand(epoch, shard)
        else:
            samples = np.arange(self._sizes[shard])
            copies = np.zeros_like(samples)
        return np.stack([np.full_like(samples, shard), samples, copies], axis=1)
