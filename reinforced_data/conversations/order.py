"""Which conversation comes at which place of an endless sequence.

A pass shows every source as often as its weight says and the next one follows without a seam, so
that what has to be remembered of a run is one number. A source's own showings are permutations of
it, one after another; with weight w a pass takes the next round(w · n) of them. So no sample is
shown twice before all others were shown once, and a pass always has the same length.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from zoo.reinforced_data.randomness import keyed_rng

MEGABATCH = 32
"""Batches whose samples are sorted by length together."""


class ConversationOrder:
    """The endless sequence of showings of all sources."""

    def __init__(
        self,
        sizes: Sequence[int],
        weights: Sequence[float],
        *,
        seed: int,
        grouping: LengthGrouping | None = None,
    ) -> None:
        """`sizes`: conversations of each source, one or more; `grouping`: None mixes them all."""
        self._sizes, self._seed, self._grouping = list(sizes), seed, grouping
        self._shown = [max(1, round(w * n)) for w, n in zip(weights, sizes, strict=True)]
        self._starts = np.cumsum([0, *sizes])
        self._pass = -1, np.empty(0, np.int64)

    def __len__(self) -> int:
        """Showings a pass."""
        return sum(self._shown)

    def rows(self, start: int, stop: int) -> list[tuple[int, int]]:
        """Return source and row in it at places `start` … `stop` - 1."""
        found: list[np.ndarray] = []
        while start < stop:
            number, begin = divmod(start, len(self))
            found.append(self._order_of(number)[begin : begin + stop - start])
            start += len(found[-1])
        samples = np.concatenate(found)
        sources = np.searchsorted(self._starts, samples, side="right") - 1
        return list(zip(sources.tolist(), (samples - self._starts[sources]).tolist(), strict=True))

    def _order_of(self, number: int) -> np.ndarray:
        """All sources' samples, numbered through, as pass `number` shows them: int64 (n,)."""
        if self._pass[0] != number:
            shown = [self._showings(source, number) for source in range(len(self._sizes))]
            rng = keyed_rng(self._seed, "conversations of a pass", number)
            samples = rng.permutation(np.concatenate(shown))
            if self._grouping:
                samples = self._grouping.arrange(samples, number * len(self), rng)
            self._pass = number, samples
        return self._pass[1]

    def _showings(self, source: int, number: int) -> np.ndarray:
        """What pass `number` takes of a source's endless row of permutations."""
        size, shown = self._sizes[source], self._shown[source]
        first, last = number * shown // size, -(-(number + 1) * shown // size)
        turns = [
            keyed_rng(self._seed, "conversations", source, turn).permutation(size)
            for turn in range(first, last)
        ]
        begin = number * shown - first * size
        return np.concatenate(turns)[begin : begin + shown] + self._starts[source]


class LengthGrouping:
    """Puts samples of like length, and pictures apart from text alone, into one batch.

    The idea of LLaVA's `group_by_modality_length`: 32 batches' worth of samples are sorted by
    length and cut into batches, which then come in random order. Lengths are estimates from the
    bytes of the text, since nothing is tokenized beforehand. Where a pass begins inside a batch,
    and at its end, samples that fill no batch of their kind share one.
    """

    def __init__(self, lengths: np.ndarray, has_picture: np.ndarray, batch: int) -> None:
        """Lengths (N,) and kinds bool (N,) of all samples; samples of a global batch."""
        self._lengths, self._has_picture, self._batch = lengths, has_picture, batch

    def arrange(self, samples: np.ndarray, start: int, rng: np.random.Generator) -> np.ndarray:
        """Return shuffled `samples` (n,) in the order shown; the first has the place `start`."""
        kinds = [samples[mask] for mask in self._masks(samples)]
        kinds.sort(key=len, reverse=True)
        # What completes the batch that the pass before began.
        missing = -start % self._batch
        head = np.concatenate(kinds)[:missing]
        kinds = [kinds[0][missing:], kinds[1][max(0, missing - len(kinds[0])) :]]
        batches = np.concatenate([self._batches(kind) for kind in kinds])
        tails = [kind[len(kind) - len(kind) % self._batch :] for kind in kinds]
        return np.concatenate([head, rng.permutation(batches).reshape(-1), *tails])

    def _masks(self, samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        with_picture = self._has_picture[samples]
        return with_picture, ~with_picture

    def _batches(self, samples: np.ndarray) -> np.ndarray:
        """Return whole batches of like length: int64 (batches, batch), longest first in each."""
        whole = samples[: len(samples) - len(samples) % self._batch]
        step = MEGABATCH * self._batch
        parts = [whole[first : first + step] for first in range(0, len(whole), step)]
        in_turn = [part[np.argsort(-self._lengths[part], kind="stable")] for part in parts]
        return np.concatenate([whole[:0], *in_turn]).reshape(-1, self._batch)
