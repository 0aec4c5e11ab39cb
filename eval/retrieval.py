"""Image-text retrieval: recall@k in both directions, from features.

A query is right at k if any of its counterparts is among the k best candidates (Karpathy's
protocol for Flickr30k and COCO). Metric names are those of CLIP_benchmark: `image_retrieval` finds
the picture of a text, `text_retrieval` a text of a picture.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from zoo.eval.features import require_finite

# Scores held at once: 4 M float32 and two masks are about 25 MB, whatever the size of the set.
_CHUNK_SCORES = 4_000_000


def merge_captions(captions: Sequence[Sequence[str]]) -> tuple[list[str], Tensor]:
    """The distinct captions in order, and int64 (P, 2) pairs of picture and caption index.

    A caption that several pictures carry is one text and right for each of them; kept apart, its
    copies would tie and hide one another.
    """
    index: dict[str, int] = {}
    pairs = [
        (image, index.setdefault(caption, len(index)))
        for image, image_captions in enumerate(captions)
        for caption in dict.fromkeys(image_captions)
    ]
    return list(index), torch.tensor(pairs, dtype=torch.int64).reshape(-1, 2)


def retrieval_metrics(
    image_features: Tensor,
    text_features: Tensor,
    pairs: Tensor,
    *,
    ks: Sequence[int] = (1, 5, 10),
) -> dict[str, float]:
    """`image_retrieval_recall@k`, `text_retrieval_recall@k`, `mean_recall@1`: fractions 0..1.

    Takes features (N, D) and (M, D) and int64 (P, 2) pairs of picture and text that belong
    together. A wrong candidate that ties with the best right one counts as ranked before it, so
    that constant features score 0. A k that is not below the number of candidates is left out.

    Raises:
        ValueError: a feature is not finite, or a picture or text has no counterpart.
    """
    require_finite("image features", image_features)
    require_finite("text features", text_features)
    text_ranks = best_ranks(image_features, text_features, pairs)
    image_ranks = best_ranks(text_features, image_features, pairs.flip(1))
    metrics = {
        f"{name}_recall@{k}": (ranks < k).double().mean().item()
        for name, ranks, candidates in (
            ("image_retrieval", image_ranks, len(image_features)),
            ("text_retrieval", text_ranks, len(text_features)),
        )
        for k in ks
        if k < candidates
    }
    first = [metrics.get(f"{name}_retrieval_recall@1") for name in ("image", "text")]
    if None not in first:
        metrics["mean_recall@1"] = sum(value for value in first if value is not None) / 2
    return metrics


def best_ranks(
    queries: Tensor, candidates: Tensor, pairs: Tensor, *, chunk_scores: int = _CHUNK_SCORES
) -> Tensor:
    """Rank from 0 of each query's best counterpart among the wrong candidates, int64 (Q,).

    `pairs` is int64 (P, 2): query and candidate that belong together. At most `chunk_scores`
    scores (and at least one query's) are held at a time.

    Raises:
        ValueError: a query has no counterpart.
    """
    unpaired = torch.bincount(pairs[:, 0], minlength=len(queries)) == 0
    if unpaired.any():
        raise ValueError(
            f"{int(unpaired.sum())} of {len(queries)} queries have no counterpart (the first is "
            f"number {int(unpaired.nonzero()[0])}): give every picture at least one caption."
        )
    pairs = pairs[pairs[:, 0].argsort(stable=True)]
    rows = max(1, chunk_scores // max(1, len(candidates)))
    starts = range(0, len(queries), rows)
    return torch.cat(
        [_chunk_ranks(queries[start : start + rows], candidates, pairs, start) for start in starts]
    )


def _chunk_ranks(queries: Tensor, candidates: Tensor, pairs: Tensor, start: int) -> Tensor:
    first, last = torch.searchsorted(
        pairs[:, 0].contiguous(), torch.tensor([start, start + len(queries)])
    ).tolist()
    scores = queries @ candidates.T
    right = torch.zeros_like(scores, dtype=torch.bool)
    right[pairs[first:last, 0] - start, pairs[first:last, 1]] = True
    best = scores.masked_fill(~right, -torch.inf).amax(dim=1, keepdim=True)
    return ((scores >= best) & ~right).sum(dim=1)
