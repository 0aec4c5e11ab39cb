"""Which samples a fraction or a number of them means: exact, ties to the earlier sample."""

from __future__ import annotations

import numpy as np


def count_to_keep(fraction: float, total: int) -> int:
    """Return how many of `total` samples a fraction is, at least 1.

    Raises ValueError for a fraction that is not above 0 and at most 1.
    """
    if not 0 < fraction <= 1:
        raise ValueError(f"--keep is {fraction}; give a fraction above 0 and at most 1.")
    return max(1, round(fraction * total))


def highest(scores: np.ndarray, count: int) -> np.ndarray:
    """Return the places of the `count` highest of float (N,) scores, ascending: int64 (count,).

    Of equal scores the earlier come first. Linear in N, and exact: a score takes four bytes, so
    that a billion of them fit where an approximate quantile would otherwise be needed.
    """
    if count >= len(scores):
        return np.arange(len(scores))
    threshold = np.partition(scores, len(scores) - count)[len(scores) - count]
    chosen = scores > threshold
    equal = np.flatnonzero(scores == threshold)
    chosen[equal[: count - int(chosen.sum())]] = True
    return np.flatnonzero(chosen)
