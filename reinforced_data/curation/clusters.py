"""Spherical k-means over the vectors of a pool."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from zoo.reinforced_data.curation.faiss_library import import_faiss, nearest
from zoo.reinforced_data.curation.pool import OnProgress, no_progress
from zoo.reinforced_data.curation.vector_file import VectorFile
from zoo.reinforced_data.randomness import keyed_rng

ITERATIONS = 20
"""At most; SemDeDup's code runs 100. On 50,000 made vectors of 2,000 concepts the mean cosine to
the centroid was 0.33482 after 10 iterations, 0.33483 after 20 and after 100."""
_LEAST_GAIN = 1e-4  # of that cosine, relative, in an iteration that is worth another
_TRAINING_POINTS = 256  # a centroid, faiss's own default: more hardly move it


@dataclass(frozen=True)
class Clusters:
    """Which of K clusters each of N samples is in, and how near to its centroid."""

    centroids: np.ndarray
    """float32 (K, D), rows of length 1"""
    cluster: np.ndarray
    """int32 (N,)"""
    similarity: np.ndarray
    """float32 (N,): cosine to the centroid"""

    @property
    def sizes(self) -> np.ndarray:
        """int64 (K,)"""
        return np.bincount(self.cluster, minlength=len(self.centroids))

    def members(self, cluster: int) -> np.ndarray:
        """Numbers of a cluster's samples: farthest from the centroid first, then by number."""
        return self._hardest_first[self._starts[cluster] : self._starts[cluster + 1]]

    @cached_property
    def _hardest_first(self) -> np.ndarray:
        return np.lexsort((self.similarity, self.cluster))  # stable: equal ones stay in order

    @cached_property
    def _starts(self) -> np.ndarray:
        return np.cumsum([0, *self.sizes])


def find_clusters(
    vectors: VectorFile, count: int, *, seed: int = 0, on_progress: OnProgress = no_progress
) -> Clusters:
    """Find `count` clusters by spherical k-means; the same seed gives the same clusters.

    Centroids are trained on at most 256 samples each, then every sample goes to its nearest one.
    Raises ValueError for fewer than one cluster or more clusters than samples.
    """
    samples = vectors.shape[0]
    if not 1 <= count <= samples:
        raise ValueError(f"--clusters is {count}; give 1 to {samples}, the number of samples.")
    size = min(samples, count * _TRAINING_POINTS)
    chosen = keyed_rng(seed, "clusters").choice(samples, size, replace=False, shuffle=False)
    centroids = _train(vectors.rows(np.sort(chosen)), count, seed, on_progress)
    cluster, similarity = np.empty(samples, np.int32), np.empty(samples, np.float32)
    for start, part in vectors.parts():
        products, places = nearest(part, centroids, 1)
        cluster[start : start + len(part)] = places[:, 0]
        similarity[start : start + len(part)] = products[:, 0]
        on_progress("assigning", start + len(part), samples)
    return Clusters(centroids, cluster, similarity)


def _train(points: np.ndarray, count: int, seed: int, on_progress: OnProgress) -> np.ndarray:
    kmeans = import_faiss().Kmeans(
        points.shape[1],
        count,
        niter=1,
        spherical=True,
        seed=seed,
        min_points_per_centroid=1,
        max_points_per_centroid=len(points),
    )
    before = -np.inf
    for done in range(ITERATIONS):  # one at a time, to say how far it is and to see the gain
        on_progress("clustering", done, ITERATIONS)
        kmeans.train(points, init_centroids=kmeans.centroids)
        cosines = float(kmeans.obj[-1])
        if cosines - before < _LEAST_GAIN * abs(cosines):
            break
        before = cosines
    return kmeans.centroids
