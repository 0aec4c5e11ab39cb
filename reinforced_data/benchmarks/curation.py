"""Time, memory and accuracy of deduplication and pruning, on made embeddings with known twins."""

from __future__ import annotations

import multiprocessing
import resource
import statistics
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from zoo.reinforced_data.augmentation.policy import AugmentationPolicy
from zoo.reinforced_data.curation.dedup import deduplicate, nearest_earlier
from zoo.reinforced_data.curation.pool import Pool, find_sidecars
from zoo.reinforced_data.curation.prune import prune
from zoo.reinforced_data.curation.vector_file import VectorFile
from zoo.reinforced_data.randomness import keyed_rng
from zoo.reinforced_data.shards.index import DIGEST_BYTES
from zoo.reinforced_data.sidecars.embedding_storage import EmbeddingRows, encode_embeddings
from zoo.reinforced_data.sidecars.header import SidecarHeader, TeacherInfo
from zoo.reinforced_data.sidecars.sidecar import SidecarRows, sidecar_path, write_sidecar

Task = Literal["dedup", "prune"]

TEACHER = "made"
DIMENSION = 512
KEEP = 0.3
"""What pruning keeps, about what the paper found best."""
_SHARD_SAMPLES = 10_000
_TWINS = 0.2  # of the samples of a shard
_CONCEPTS = 2_000
_CONCEPT_COSINE = 0.7  # between two samples of a concept
_TWIN_COSINE = 0.99  # between a sample and its twin


@dataclass(frozen=True, kw_only=True)
class CurationRow:
    """One measured run, in a process of its own."""

    task: Task
    samples: int
    kept: int
    seconds: float
    """Wall time, from the sidecars to the choice."""
    cpu_seconds: float
    """Of all threads."""
    peak_bytes: int
    """Highest resident memory, with the pages of mapped files."""
    recall: float | None = None
    """Share of the pairs of twins that deduplication broke."""
    precision: float | None = None
    """Share of what it dropped that broke one."""


def make_sidecars(folder: Path, samples: int) -> None:
    """Write sidecars of made embeddings: 512 numbers, int8, one augmentation.

    The last fifth of a shard's samples are twins of its first.
    """
    folder.mkdir(parents=True, exist_ok=True)
    concepts = _unit(keyed_rng("concepts").standard_normal((_CONCEPTS, DIMENSION), np.float32))
    for shard, start in enumerate(range(0, samples, _SHARD_SAMPLES)):
        rng = keyed_rng(shard, "samples")
        count = min(_SHARD_SAMPLES, samples - start)
        vectors = _near(concepts[rng.integers(_CONCEPTS, size=count)], _CONCEPT_COSINE**0.5, rng)
        twins = _twins(count)
        vectors[count - twins :] = _near(vectors[:twins], _TWIN_COSINE, rng)
        _write(folder / f"{shard:05d}.tar", vectors)


def measure(task: Task, folder: Path) -> CurationRow:
    """Deduplicate or prune the embeddings of `make_sidecars`, in a process of its own."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as process:
        return process.submit(_measure, task, folder).result()


def compare_with_direct(size: int, rounds: int) -> tuple[float, float]:
    """Median seconds for the comparisons inside one cluster of `size`: ours, and as published.

    The other is SemDeDup's formula `triu(X Xᵀ, 1).max(dim=0)` in torch, which holds the whole
    matrix of similarities. Rounds are interleaved, after one that does not count.
    """
    vectors = _unit(keyed_rng("cluster").standard_normal((size, DIMENSION), np.float32))
    ours, direct = [], []
    for _ in range(1 + rounds):
        started = time.perf_counter()
        nearest_earlier(lambda rows: vectors[rows], np.arange(size))
        ours.append(time.perf_counter() - started)
        started = time.perf_counter()
        torch.triu(torch.from_numpy(vectors) @ torch.from_numpy(vectors).T, 1).max(dim=0)
        direct.append(time.perf_counter() - started)
    return statistics.median(ours[1:]), statistics.median(direct[1:])


def _measure(task: Task, folder: Path) -> CurationRow:
    started = time.perf_counter()
    pool = Pool.open(find_sidecars(folder))
    with VectorFile(pool, TEACHER, folder=folder) as vectors:
        found = deduplicate(vectors) if task == "dedup" else prune(vectors, keep=KEEP)
    kept = found.kept
    seconds = time.perf_counter() - started
    used = resource.getrusage(resource.RUSAGE_SELF)
    recall, precision = _accuracy(pool, kept) if task == "dedup" else (None, None)
    return CurationRow(
        task=task,
        samples=len(pool),
        kept=len(kept),
        seconds=seconds,
        cpu_seconds=used.ru_utime + used.ru_stime,
        peak_bytes=used.ru_maxrss * (1 if sys.platform == "darwin" else 1024),
        recall=recall,
        precision=precision,
    )


def _accuracy(pool: Pool, kept: np.ndarray) -> tuple[float, float]:
    """Pairs of twins that lost one of them: as a share of all pairs, and of what was dropped."""
    dropped = np.ones(len(pool), bool)
    dropped[kept] = False
    broken = 0
    pairs = 0
    for start, stop in pairwise(pool.starts.tolist()):
        twins = _twins(stop - start)
        broken += int((dropped[start : start + twins] | dropped[stop - twins : stop]).sum())
        pairs += twins
    return broken / pairs, broken / max(1, int(dropped.sum()))


def _twins(count: int) -> int:
    return int(_TWINS * count)


def _near(vectors: np.ndarray, cosine: float, rng: np.random.Generator) -> np.ndarray:
    """Vectors of length 1 at about `cosine` from those given: many dimensions are orthogonal."""
    noise = _unit(rng.standard_normal(vectors.shape, np.float32))
    return _unit(cosine * vectors + (1 - cosine**2) ** 0.5 * noise)


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def _write(shard: Path, vectors: np.ndarray) -> None:
    count = len(vectors)
    header = SidecarHeader(
        shard=shard.name,
        shard_bytes=0,
        samples=count,
        augmentation=AugmentationPolicy(),
        augmentations=1,
        captions=0,
        captioner={},
        teachers=(
            TeacherInfo(
                name=TEACHER,
                pretrained="made",
                embed_dim=DIMENSION,
                image_size=1,
                logit_scale=100.0,
                storage="int8",
            ),
        ),
        seed=0,
        packages={},
    )
    stored = EmbeddingRows(encode_embeddings(vectors[:, None], "int8"), "int8")
    rows = SidecarRows(
        keys=[f"{shard.stem}{i:05d}" for i in range(count)],
        valid=np.ones(count, bool),
        augment_params=np.zeros((count, 1, 1), np.float32),
        captions=[()] * count,
        digests=np.zeros((count, DIGEST_BYTES), np.uint8),
        image_embeddings={TEACHER: stored},
        text_embeddings={TEACHER: stored},
    )
    write_sidecar(sidecar_path(shard), header, rows)
