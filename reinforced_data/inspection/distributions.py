"""Histograms that are filled a little at a time."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np

SIMILARITY_EDGES = np.linspace(-1, 1, 201)


@dataclass
class SimilarityHistogram:
    """Cosines, in bins of 0.01 from -1 to 1."""

    counts: np.ndarray = field(
        default_factory=lambda: np.zeros(len(SIMILARITY_EDGES) - 1, np.int64)
    )
    total: float = 0.0
    total_of_squares: float = 0.0

    def add(self, cosines: np.ndarray) -> None:
        """Count an array of any shape; rounding may have put values just outside -1 and 1."""
        self.counts += np.histogram(cosines.clip(-1, 1), SIMILARITY_EDGES)[0]
        self.total += float(cosines.sum(dtype=np.float64))
        self.total_of_squares += float(np.square(cosines, dtype=np.float64).sum())

    @property
    def mean(self) -> float:
        """Mean of all cosines, not of their bins."""
        return self.total / int(self.counts.sum())

    @property
    def deviation(self) -> float:
        """Standard deviation of all cosines."""
        variance = self.total_of_squares / int(self.counts.sum()) - self.mean**2
        return max(0.0, variance) ** 0.5

    def to_json(self) -> dict[str, Any]:
        """Return mean, deviation and the count of each bin."""
        return {
            "count": int(self.counts.sum()),
            "mean": self.mean,
            "std": self.deviation,
            "bins": "200 of 0.01 from -1 to 1",
            "counts": self.counts.tolist(),
        }


@dataclass
class LengthCounts:
    """How many captions have how many words and characters."""

    words: Counter[int] = field(default_factory=Counter)
    characters: Counter[int] = field(default_factory=Counter)

    def add(self, caption: str) -> None:
        """Count one caption; words are what white space separates."""
        self.words[len(caption.split())] += 1
        self.characters[len(caption)] += 1

    def to_json(self) -> dict[str, Any]:
        """Return the number of captions, and least, mean, median and most of both lengths."""
        return {
            "count": self.words.total(),
            "words": summary(self.words),
            "characters": summary(self.characters),
        }


def summary(counts: Counter[int]) -> dict[str, float]:
    """Return least, mean, (lower) median and most of counted numbers; all 0 without any."""
    if not counts:
        return {"least": 0, "mean": 0, "median": 0, "most": 0}
    ordered = sorted(counts)
    seen = np.cumsum([counts[number] for number in ordered])
    median = ordered[int(np.searchsorted(seen, (seen[-1] + 1) // 2))]
    mean = sum(number * count for number, count in counts.items()) / counts.total()
    return {"least": ordered[0], "mean": mean, "median": median, "most": ordered[-1]}
