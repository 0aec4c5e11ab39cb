"""SemDeDup: of pictures that mean the same, keep one (Abbas et al., arXiv 2303.09540).

k-means puts like with like; inside a cluster, ordered from the farthest to the nearest of its
centroid, a picture goes when an earlier one is more similar to it than 1 - epsilon.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from zoo.reinforced_data.curation.clusters import Clusters, find_clusters
from zoo.reinforced_data.curation.pool import OnProgress, Pool, no_progress
from zoo.reinforced_data.curation.selection import count_to_keep, highest
from zoo.reinforced_data.curation.vector_file import VectorFile
from zoo.reinforced_data.sidecars.sidecar import Sidecar

EPSILON = 0.03
"""The paper's larger value: half of LAION-440M goes (0.00095: 30 %)."""
_BLOCK = 1024  # of rows: 4 MB of similarities; as fast as larger ones
_ALONE = -1.0  # below any cosine that matters: no earlier sample in the cluster


@dataclass(frozen=True, kw_only=True)
class Deduplicated:
    """The samples kept of N."""

    kept: np.ndarray
    """int64, ascending"""
    similarity: np.ndarray
    """float32 (N,): highest cosine to an earlier sample of the cluster; -1 for its first"""
    twin: np.ndarray
    """int64 (N,): that sample; of the first, itself"""
    clusters: Clusters
    epsilon: float
    """Samples with a similarity above 1 - epsilon are gone."""


def default_clusters(samples: int) -> int:
    """√N: finding the clusters then costs about as much as comparing inside them."""
    return max(1, round(math.sqrt(samples)))


def deduplicate(
    vectors: VectorFile,
    *,
    epsilon: float = EPSILON,
    keep: float | None = None,
    clusters: int | None = None,
    seed: int = 0,
    on_progress: OnProgress = no_progress,
) -> Deduplicated:
    """Keep one of the samples that resemble each other more than 1 - epsilon.

    With `keep`, epsilon is what leaves that fraction; of samples that resemble equally much the
    earlier are kept. Raises ValueError for an epsilon outside [0, 2), a fraction outside (0, 1]
    or a number of clusters outside 1..N.
    """
    samples = vectors.shape[0]
    if not 0 <= epsilon < 2:
        raise ValueError(f"--epsilon is {epsilon}; give a cosine distance from 0 to 2.")
    kept_count = None if keep is None else count_to_keep(keep, samples)
    count = default_clusters(samples) if clusters is None else clusters
    found = find_clusters(vectors, count, seed=seed, on_progress=on_progress)
    similarity, twin = _nearest_in_clusters(vectors, found, on_progress)
    if kept_count is None:
        kept = np.flatnonzero(similarity <= 1 - epsilon)
    else:
        kept = highest(-similarity, kept_count)
        epsilon = 1 - float(similarity[kept].max())
    return Deduplicated(
        kept=kept, similarity=similarity, twin=twin, clusters=found, epsilon=epsilon
    )


def crop_distance(pool: Pool, teacher: str, *, samples: int = 4096) -> float | None:
    """How far apart two stored vectors of one picture are: the median cosine distance.

    The vector of a sample is a mean over A random crops, so that even equal files differ by their
    crops, and an epsilon below this distance misses them. With c the mean cosine between a
    sample's crops, two means of A crops have the expected cosine A·c / (1 + (A - 1)·c). None for
    one augmentation. At most `samples` samples are looked at, evenly spaced.
    """
    numbers = np.unique(np.linspace(0, len(pool) - 1, samples).astype(np.int64))
    found = [_crop_distances(pool, teacher, numbers, i) for i in range(len(pool.shards))]
    distances = np.concatenate(found)
    return float(np.median(distances)) if len(distances) else None


def _crop_distances(pool: Pool, teacher: str, numbers: np.ndarray, shard: int) -> np.ndarray:
    first, last = pool.starts[shard], pool.starts[shard + 1]
    inside = numbers[(numbers >= first) & (numbers < last)] - first
    if not len(inside):
        return np.empty(0)
    sidecar = Sidecar.open(pool.shards[shard].sidecar)
    count = sidecar.header.augmentations
    if count == 1:
        return np.empty(0)
    rows = pool.shards[shard].rows[inside]
    views = np.stack([sidecar.image_embeddings(teacher, rows, a) for a in range(count)])
    views /= np.linalg.norm(views, axis=2, keepdims=True)
    squared = (views.sum(axis=0) ** 2).sum(axis=1)
    between = np.maximum(squared - count, 0) / (count * (count - 1))
    return 1 - count * between / (1 + (count - 1) * between)


def nearest_earlier(
    rows: Callable[[np.ndarray], np.ndarray], members: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return each member's highest cosine to an earlier member, and that one's place.

    `rows` gives the vectors of some members, float32 (n, D) of length 1. Returns float32 and int64
    (M,); -1 and 0 for the first. Block by block, so that a cluster of any size fits in memory.
    """
    cosine = np.full(len(members), _ALONE, np.float32)
    place = np.zeros(len(members), np.int64)
    for start in range(0, len(members), _BLOCK):
        block = slice(start, start + _BLOCK)
        later = rows(members[block])
        for first in range(0, start + 1, _BLOCK):
            diagonal = first == start
            earlier = later if diagonal else rows(members[first : first + _BLOCK])
            products = later @ earlier.T
            if diagonal:  # itself and those after it
                np.copyto(products, _ALONE, where=np.tri(len(later), dtype=bool).T)
            best = products.argmax(axis=1)
            highest_here = products[np.arange(len(later)), best]
            better = highest_here > cosine[block]
            cosine[block][better] = highest_here[better]
            place[block][better] = first + best[better]
    return cosine, place


def _nearest_in_clusters(
    vectors: VectorFile, clusters: Clusters, on_progress: OnProgress
) -> tuple[np.ndarray, np.ndarray]:
    samples = len(clusters.cluster)
    similarity, twin = np.empty(samples, np.float32), np.empty(samples, np.int64)
    done = 0
    for cluster in range(len(clusters.centroids)):
        members = clusters.members(cluster)
        cosine, place = nearest_earlier(vectors.rows, members)
        similarity[members], twin[members] = cosine, members[place]
        done += len(members)
        on_progress("comparing", done, samples)
    return similarity, twin
