"""faiss, which finds nearest neighbours on all cores."""

from __future__ import annotations

from typing import Any


def import_faiss() -> Any:
    """Return the module; ValueError that says what to install when it is missing."""
    try:
        import faiss
    except ModuleNotFoundError as error:
        raise ValueError(
            "Clusters and nearest neighbours need faiss; install zoo[data]."
        ) from error
    return faiss


def nearest(queries: Any, vectors: Any, count: int) -> tuple[Any, Any]:
    """Return the `count` vectors of highest inner product with each query, best first.

    `queries` float32 (Q, D), `vectors` float32 (N, D) with N >= count; returns float32 and int64
    (Q, count): products, and rows of `vectors`. Exact.
    """
    faiss = import_faiss()
    return faiss.knn(queries, vectors, count, metric=faiss.METRIC_INNER_PRODUCT)
