"""Task-oriented transfer sets: what of a big pool looks like the few samples of a task.

Vemulapalli et al., Knowledge transfer from vision foundation models (arXiv 2311.18237): the set
that a small model is distilled on is retrieved with the task's own pictures as queries, as many
for each, so that no query takes it all.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from zoo.reinforced_data.curation.faiss_library import nearest
from zoo.reinforced_data.curation.pool import OnProgress, Pool, no_progress


@dataclass(frozen=True, kw_only=True)
class Retrieved:
    """The samples kept of N for Q queries, each for one of them."""

    kept: np.ndarray
    """int64 (M,), ascending"""
    query: np.ndarray
    """int64 (M,): the query that each was kept for"""
    similarity: np.ndarray
    """float32 (M,): cosine to it"""
    counts: np.ndarray
    """int64 (Q,)"""


def retrieve(
    pool: Pool,
    teacher: str,
    queries: np.ndarray,
    *,
    quota: int,
    on_progress: OnProgress = no_progress,
) -> Retrieved:
    """Keep for each query the `quota` nearest samples that no other query is nearer to.

    `queries` float32 (Q, D), rows of length 1. Pairs of query and sample are settled from the most
    similar on, a sample going to one query, until each query has its quota or the pool is empty;
    of equal pairs the earlier query and sample come first. Exact: where a query's candidates are
    all taken by others, the pool is searched again for twice as many.
    Raises ValueError for a quota below 1, or queries of another length than the teacher's.
    """
    dimension = pool.teacher(teacher).embed_dim
    if quota < 1:
        raise ValueError(f"--quota is {quota}; give at least 1 sample a query.")
    if queries.shape[1] != dimension:
        raise ValueError(
            f"The queries have {queries.shape[1]} numbers but those of '{teacher}' {dimension}."
        )
    depth = min(2 * quota, len(pool))
    while True:
        similarity, numbers = _candidates(pool, teacher, queries, depth, on_progress)
        found = _settle(similarity, numbers, quota)
        if depth == len(pool) or found.counts.min() == quota:
            return found
        depth = min(2 * depth, len(pool))


def _candidates(
    pool: Pool, teacher: str, queries: np.ndarray, depth: int, on_progress: OnProgress
) -> tuple[np.ndarray, np.ndarray]:
    """Return the `depth` samples nearest to each query, best first: (Q, depth) and (Q, depth)."""
    best = np.empty((len(queries), 0), np.float32)
    numbers = np.empty((len(queries), 0), np.int64)
    done = 0
    for vectors in pool.image_vectors(teacher):
        products, places = nearest(queries, vectors, min(depth, len(vectors)))
        best = np.concatenate([best, products], axis=1)
        numbers = np.concatenate([numbers, places + done], axis=1)
        order = np.lexsort((numbers, -best), axis=1)[:, :depth]
        best = np.take_along_axis(best, order, axis=1)
        numbers = np.take_along_axis(numbers, order, axis=1)
        done += len(vectors)
        on_progress(f"searching {depth} a query", done, len(pool))
    return best, numbers


def _settle(similarity: np.ndarray, numbers: np.ndarray, quota: int) -> Retrieved:
    count, depth = numbers.shape
    query = np.repeat(np.arange(count), depth)
    order = np.lexsort((numbers.ravel(), query, -similarity.ravel()))
    taken: dict[int, int] = {}
    counts = [0] * count
    pairs = zip(query[order].tolist(), numbers.ravel()[order].tolist(), order.tolist(), strict=True)
    for one, number, place in pairs:
        if counts[one] < quota and number not in taken:
            taken[number] = place
            counts[one] += 1
    kept = np.array(sorted(taken), np.int64)
    places = np.array([taken[number] for number in kept.tolist()], np.int64)
    return Retrieved(
        kept=kept,
        query=query[places],
        similarity=similarity.ravel()[places],
        counts=np.array(counts),
    )
