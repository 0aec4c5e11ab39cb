"""Concept counts from captions, and weights under which frequent concepts count for less.

The counting is that of Udandarao et al., No "Zero-Shot" Without Exponential Data (arXiv
2404.04125), on the text side: how often a pool names a concept predicts how well a model knows it,
and "Let It Wag!" is made of the rarest. The cap is MetaCLIP's (Xu et al., arXiv 2309.16671).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from zoo.reinforced_data.curation.concepts import ConceptIndex
from zoo.reinforced_data.curation.pool import OnProgress, Pool, PoolShard, no_progress
from zoo.reinforced_data.shards.index import ShardIndex
from zoo.reinforced_data.sidecars.sidecar import Sidecar

Captions = Literal["all", "ground-truth", "synthetic"]

TAIL_SHARE = 0.06
"""Share of all matches below the cap. MetaCLIP's 20,000 has it so: the entries of its pool that
are rarer hold 0.32 of 5.67 billion matches (facebookresearch/MetaCLIP, issue 24)."""


@dataclass(frozen=True, kw_only=True)
class Balanced:
    """How often each of K concepts is named by N samples, and the samples' weights."""

    concepts: tuple[str, ...]
    counts: np.ndarray
    """int64 (K,): samples whose captions name the concept"""
    balanced_counts: np.ndarray
    """float64 (K,): the same, each sample counted with its weight"""
    weights: np.ndarray
    """float32 (N,): from the rarest concept; 0 where no concept is named"""
    cap: int

    @property
    def kept(self) -> np.ndarray:
        """int64, ascending: samples that name a concept"""
        return np.flatnonzero(self.weights)


def balance(
    pool: Pool,
    index: ConceptIndex,
    *,
    cap: int | None = None,
    captions: Captions = "all",
    on_progress: OnProgress = no_progress,
) -> Balanced:
    """Count concepts and weigh each sample with min(1, cap / count) of its rarest concept.

    A concept that is named more often than `cap` is so brought towards it, and a sample that also
    names something rare stays. By default the cap is where rarer concepts hold 6 % of all matches.
    Ground-truth captions are read from the shards beside the sidecars. Raises ValueError for a cap
    below 1 or captions that are not stored, FileNotFoundError for a missing shard.
    """
    if cap is not None and cap < 1:
        raise ValueError(f"--cap is {cap}; give at least 1 sample a concept.")
    named: list[np.ndarray] = []
    for texts in _all_captions(pool, captions):
        named.append(np.array(sorted(index.find(texts)), np.int32))
        on_progress("reading captions", len(named), len(pool))
    if not any(map(len, named)):
        raise ValueError(
            f"The captions of {len(pool):,} samples name none of {len(index.concepts):,} concepts; "
            "give others with --concepts."
        )
    sample = np.repeat(np.arange(len(pool)), [len(found) for found in named])
    concept = np.concatenate(named)
    counts = np.bincount(concept, minlength=len(index.concepts))
    cap = cap or default_cap(counts)
    weights = np.zeros(len(pool), np.float32)
    np.maximum.at(weights, sample, np.minimum(1, cap / counts[concept]).astype(np.float32))
    return Balanced(
        concepts=index.concepts,
        counts=counts,
        balanced_counts=np.bincount(concept, weights[sample], minlength=len(counts)),
        weights=weights,
        cap=cap,
    )


def default_cap(counts: np.ndarray) -> int:
    """Return the smallest count up to which the rarer concepts hold 6 % of all matches."""
    ascending = np.sort(counts)
    below = np.cumsum(ascending)
    place = int(np.searchsorted(below, TAIL_SHARE * below[-1]))
    return max(1, int(ascending[place]))


def _all_captions(pool: Pool, captions: Captions) -> Iterator[tuple[str, ...]]:
    for shard in pool.shards:
        sidecar = Sidecar.open(shard.sidecar)
        if captions == "synthetic" and sidecar.header.captions == 0:
            raise ValueError(f"'{shard.sidecar}' holds no synthetic captions; count the others.")
        index = None if captions == "synthetic" else _open_shard(shard, sidecar)
        for row in shard.rows.tolist():
            truth = index.captions(row) if index is not None else ()
            yield truth if captions == "ground-truth" else (*truth, *sidecar.captions(row))


def _open_shard(shard: PoolShard, sidecar: Sidecar) -> ShardIndex:
    index = ShardIndex(shard.sidecar.with_name(shard.name), on_error="skip")
    sidecar.check_shard(index.path, index.keys)
    return index
