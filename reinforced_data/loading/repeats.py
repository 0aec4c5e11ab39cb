"""How often a sample with a weight is shown in each pass: 2.5 is two or three times, 0.3 is 0 or 1.

The whole part of a weight is shown in every pass. The fractional parts of all samples are laid end
to end, and points of equal distance, from a random first one, fall on those shown once more
(systematic resampling). So every pass has the same length and no weight is off by a whole showing.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from zoo.reinforced_data.randomness import keyed_rng

_UNIT = 1 << 24
"""One showing; whole numbers keep sums over billions of samples exact. float32 has as many bits."""


class Repeats:
    """Weights of the samples of every shard, and what each pass makes of them."""

    def __init__(self, weights: Callable[[int], np.ndarray], shards: int, *key: str | int) -> None:
        """Read the weights once to add them up; `weights` gives those of a shard: float (n,), ≥ 0.

        The fractions are scaled down by less than one showing a pass, so that their sum is whole;
        a sum below 1 is scaled up to 1.
        """
        parts = [_split(weights(shard)) for shard in range(shards)]
        self._weights, self._key = weights, key
        self._wholes = np.array([wholes.sum() for wholes, _ in parts], np.int64)
        units = [fractions.sum() for _, fractions in parts]
        self._starts = np.cumsum([0, *units], dtype=np.int64)
        total = int(self._starts[-1])
        self._points = max(1, total // _UNIT) if total else 0
        self._distance = total // self._points if total else 1

    def __len__(self) -> int:
        """Showings a pass."""
        return int(self._wholes.sum()) + self._points

    def counts(self, epoch: int) -> np.ndarray:
        """Showings of each shard in pass `epoch`: int64 (shards,)."""
        return self._wholes + np.diff(self._points_before(self._starts, epoch))

    def expand(self, epoch: int, shard: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the showings of a shard: sample and which showing of it in this pass, int64 (n,).

        The samples' order on the line is another in each pass: neighbours are not tied.
        """
        wholes, fractions = _split(self._weights(shard))
        order = keyed_rng(*self._key, "repeats", epoch, shard).permutation(len(wholes))
        ends = self._starts[shard] + np.cumsum([0, *fractions[order]], dtype=np.int64)
        times = wholes
        times[order] += np.diff(self._points_before(ends, epoch))
        samples = np.repeat(np.arange(len(times)), times)
        first = np.cumsum(times) - times
        return samples, np.arange(len(samples)) - first[samples]

    def _points_before(self, places: np.ndarray, epoch: int) -> np.ndarray:
        """Number of points below each place on the line."""
        span = int(self._starts[-1]) - max(0, self._points - 1) * self._distance
        first = int(keyed_rng(*self._key, "first point", epoch).integers(max(1, span)))
        return np.clip(-((first - places) // self._distance), 0, self._points)


def _split(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Whole part and, in units, fractional part of each weight: int64 (n,) both."""
    wholes = np.floor(weights)
    fractions = np.rint((np.asarray(weights, np.float64) - wholes) * _UNIT)
    return wholes.astype(np.int64), fractions.astype(np.int64)
