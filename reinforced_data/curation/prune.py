"""Density-based pruning: complex concepts keep more samples, and each keeps its hardest.

Abbas et al., Effective pruning of web-scale datasets based on complexity of concept clusters
(arXiv 2401.04578). With `density="uniform"` every concept keeps as many, as in the pruning by
prototypes of Sorscher et al. (arXiv 2206.14486).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from zoo.reinforced_data.curation.clusters import Clusters, find_clusters
from zoo.reinforced_data.curation.pool import OnProgress, no_progress
from zoo.reinforced_data.curation.quotas import water_fill, whole_numbers
from zoo.reinforced_data.curation.selection import count_to_keep
from zoo.reinforced_data.curation.vector_file import VectorFile

Density = Literal["complexity", "uniform"]

TEMPERATURE = 0.5
"""Default of the authors' code."""
CLUSTERS = 100
"""The paper's number for DataComp-medium; 500 for the 280 M of LAION."""
_NEIGHBOURS = 20  # centroids that d_inter looks at, default of the authors' code
_SAMPLES_A_CLUSTER = 40  # fewer do not make a concept: small pools get fewer clusters


@dataclass(frozen=True, kw_only=True)
class Pruned:
    """The samples kept of N in K clusters."""

    kept: np.ndarray
    """int64, ascending"""
    clusters: Clusters
    spread: np.ndarray
    """float64 (K,), d_intra: mean cosine distance of the samples to their centroid"""
    isolation: np.ndarray
    """float64 (K,), d_inter: mean cosine distance to the 20 nearest other centroids"""
    quota: np.ndarray
    """int64 (K,): samples kept of each cluster"""

    @property
    def complexity(self) -> np.ndarray:
        """float64 (K,): d_intra · d_inter."""
        return self.spread * self.isolation


def default_clusters(samples: int) -> int:
    """100, or fewer where a cluster would have less than 40 samples."""
    return max(1, min(CLUSTERS, samples // _SAMPLES_A_CLUSTER))


def prune(
    vectors: VectorFile,
    *,
    keep: float,
    clusters: int | None = None,
    density: Density = "complexity",
    temperature: float = TEMPERATURE,
    seed: int = 0,
    on_progress: OnProgress = no_progress,
) -> Pruned:
    """Keep the fraction `keep`: a quota a cluster, filled with its samples far from the centroid.

    Quotas are softmax(complexity / temperature) of the total, as near as the clusters' sizes allow;
    each cluster that holds a sample keeps one, if the total reaches. Raises ValueError for a
    fraction outside (0, 1], a temperature that is not positive or clusters outside 1..N.
    """
    samples = vectors.shape[0]
    total = count_to_keep(keep, samples)
    if not temperature > 0:
        raise ValueError(f"--temperature is {temperature}; give a number above 0.")
    count = default_clusters(samples) if clusters is None else clusters
    found = find_clusters(vectors, count, seed=seed, on_progress=on_progress)
    spread, isolation = _spread(found), _isolation(found.centroids)
    complexity = spread * isolation if density == "complexity" else np.zeros(len(spread))
    quota = _quotas(_softmax(complexity / temperature), found.sizes, total)
    hardest = [found.members(cluster)[:count] for cluster, count in enumerate(quota)]
    return Pruned(
        kept=np.sort(np.concatenate(hardest)),
        clusters=found,
        spread=spread,
        isolation=isolation,
        quota=quota,
    )


def _spread(clusters: Clusters) -> np.ndarray:
    distances = np.bincount(
        clusters.cluster, 1 - clusters.similarity, minlength=len(clusters.centroids)
    )
    return distances / np.maximum(clusters.sizes, 1)


def _isolation(centroids: np.ndarray) -> np.ndarray:
    if len(centroids) == 1:
        return np.ones(1)
    distances = 1 - centroids.astype(np.float64) @ centroids.T
    np.fill_diagonal(distances, np.inf)
    count = min(_NEIGHBOURS, len(centroids) - 1)
    return np.sort(distances, axis=1)[:, :count].mean(axis=1)


def _quotas(shares: np.ndarray, sizes: np.ndarray, total: int) -> np.ndarray:
    lower = np.minimum(sizes, 1) if (sizes > 0).sum() <= total else np.zeros_like(sizes)
    return whole_numbers(water_fill(shares * total, lower, sizes, total), total)


def _softmax(values: np.ndarray) -> np.ndarray:
    powers = np.exp(values - values.max())
    return powers / powers.sum()
