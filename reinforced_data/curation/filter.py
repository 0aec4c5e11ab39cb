"""Data filtering network: keep the pairs whose picture and caption a teacher finds most alike.

Fang et al., Data Filtering Networks (arXiv 2309.17425): DFN-2B is the best 15 % of its pool. Here
the network is a teacher that has already looked, so that filtering only reads what is stored.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from zoo.reinforced_data.curation.pool import OnProgress, Pool, no_progress
from zoo.reinforced_data.curation.selection import count_to_keep, highest


@dataclass(frozen=True, kw_only=True)
class Filtered:
    """The pairs kept of N."""

    kept: np.ndarray
    """int64, ascending"""
    scores: np.ndarray
    """float32 (N,): cosine of picture and ground-truth caption"""
    threshold: float
    """Lowest score that is kept."""


def filter_pairs(
    pool: Pool, teacher: str, *, keep: float, on_progress: OnProgress = no_progress
) -> Filtered:
    """Keep the fraction `keep` of a pool with the highest image-text cosine.

    Exact; of equal scores the earlier sample is kept. Raises ValueError for a fraction outside
    (0, 1] or a teacher that the sidecars lack.
    """
    count = count_to_keep(keep, len(pool))
    pool.teacher(teacher)
    scores = np.empty(len(pool), np.float32)
    done = 0
    for images, texts in zip(pool.image_vectors(teacher), pool.text_vectors(teacher), strict=True):
        scores[done : done + len(images)] = np.einsum("nd,nd->n", images, texts)
        done += len(images)
        on_progress("scoring", done, len(pool))
    kept = highest(scores, count)
    return Filtered(kept=kept, scores=scores, threshold=float(scores[kept].min()))
