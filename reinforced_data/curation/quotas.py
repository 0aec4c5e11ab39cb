"""How many samples each cluster gives, when each has at least some and at most what it holds."""

from __future__ import annotations

from bisect import bisect_left

import numpy as np


def water_fill(
    wanted: np.ndarray, lower: np.ndarray, upper: np.ndarray, total: float
) -> np.ndarray:
    """Return the float (K,) nearest to `wanted` with `lower <= x <= upper` and sum `total`.

    Solves min ½·xᵀx - wantedᵀx under these bounds exactly: x = clip(wanted + level, lower, upper)
    for the one level at which the sum is right. The sum is piecewise linear in the level and bends
    where a bound is met, so that the level follows from the piece that `total` lies on. `total` is
    from Σ lower to Σ upper.
    """
    assert lower.sum() <= total <= upper.sum() and (lower <= upper).all()

    def filled(level: float) -> np.ndarray:
        return np.clip(wanted + level, lower, upper)

    bends = np.sort(np.concatenate([lower - wanted, upper - wanted])).tolist()
    after = bisect_left(bends, total, key=lambda level: filled(level).sum())
    after = min(max(after, 1), len(bends) - 1)
    left, right = bends[after - 1], bends[after]
    below, above = filled(left).sum(), filled(right).sum()
    share = min(max((total - below) / (above - below), 0.0), 1.0) if above > below else 0.0
    return filled(left + share * (right - left))


def whole_numbers(shares: np.ndarray, total: int) -> np.ndarray:
    """Round float (K,) shares of `total` to int64 with that sum, by largest remainder.

    Each is its share rounded up or down; of equal remainders the earlier is rounded up.
    """
    floors = np.floor(shares + 1e-9).astype(np.int64)
    missing = total - int(floors.sum())
    up = np.argsort(floors - shares, kind="stable")[:missing]
    floors[up] += 1
    return floors
