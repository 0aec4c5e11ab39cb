"""`zoo data filter|dedup|prune|retrieve|balance`: each makes a subset and a report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import tyro

from zoo.commands import curate_report as reports
from zoo.commands.console import say
from zoo.commands.curate_output import Curation
from zoo.reinforced_data.curation import balance, dedup, prune
from zoo.reinforced_data.curation.concepts import ConceptIndex, imagenet_concepts
from zoo.reinforced_data.curation.filter import filter_pairs
from zoo.reinforced_data.curation.pool import Pool, find_sidecars
from zoo.reinforced_data.curation.queries import (
    Queries,
    check_same_teacher,
    encode_queries,
    stored_queries,
)
from zoo.reinforced_data.curation.retrieve import retrieve
from zoo.reinforced_data.curation.text_list import read_list
from zoo.reinforced_data.engine.teachers import load_teacher

Shards = Annotated[str, tyro.conf.Positional]
IMAGENET = "imagenet"


def filter_data(
    shards: Shards,
    /,
    *,
    teacher: str,
    keep: float,
    output: Path,
    subset: Path | None = None,
    report: Path | None = None,
) -> None:
    """Data filtering network: keep the pairs whose picture and caption a teacher finds most alike.

    Args:
        shards: a folder, a glob, a brace pattern or one file, of shards or their sidecars.
        teacher: name of a teacher in the sidecars.
        keep: fraction to keep; DFN-2B kept 0.15 of its pool.
        output: the .subset.safetensors file to write.
        subset: choose among the samples of this subset only.
        report: HTML file with figures, by default beside the output.
    """
    curation = Curation.open("filter", shards, output, subset, report)
    found = filter_pairs(curation.pool, teacher, keep=keep, on_progress=curation.progress)
    curation.finish(
        curation.pool.keep(found.kept),
        settings={"teacher": teacher, "keep": keep},
        figures={"lowest cosine kept": f"{found.threshold:.4f}"},
        sections=reports.filter_sections(curation.pool, found),
    )


def dedup_data(
    shards: Shards,
    /,
    *,
    teacher: str,
    output: Path,
    epsilon: float = dedup.EPSILON,
    keep: float | None = None,
    clusters: int | None = None,
    seed: int = 0,
    subset: Path | None = None,
    report: Path | None = None,
) -> None:
    """SemDeDup: of pictures that resemble each other more than 1 - epsilon, keep one.

    Args:
        shards: a folder, a glob, a brace pattern or one file, of shards or their sidecars.
        teacher: name of a teacher in the sidecars.
        output: the .subset.safetensors file to write.
        epsilon: cosine distance below which two pictures are the same.
        keep: fraction to keep; epsilon is then what leaves it.
        clusters: of k-means, by default the square root of the number of samples.
        seed: the same seed gives the same subset.
        subset: choose among the samples of this subset only.
        report: HTML file with figures, by default beside the output.
    """
    curation = Curation.open("dedup", shards, output, subset, report)
    with curation.vectors(teacher) as vectors:
        found = dedup.deduplicate(
            vectors,
            epsilon=epsilon,
            keep=keep,
            clusters=clusters,
            seed=seed,
            on_progress=curation.progress,
        )
    noise = dedup.crop_distance(curation.pool, teacher)
    count = len(found.clusters.centroids)
    curation.finish(
        curation.pool.keep(found.kept),
        settings={"teacher": teacher, "epsilon": found.epsilon, "clusters": count, "seed": seed},
        figures={
            "clusters": f"{count:,}",
            "ε, the cosine distance kept apart": f"{found.epsilon:.4f}",
            "distance between two draws of crops of one picture": (
                "unknown" if noise is None else f"{noise:.4f}"
            ),
        },
        sections=reports.dedup_sections(curation.pool, found),
    )
    if noise is not None and noise > found.epsilon:
        say(
            f"Two draws of crops of one picture are {noise:.4f} apart, more than epsilon "
            f"{found.epsilon:.4f}: equal pictures may have been missed; try a larger --epsilon."
        )


def prune_data(
    shards: Shards,
    /,
    *,
    teacher: str,
    keep: float,
    output: Path,
    clusters: int | None = None,
    density: prune.Density = "complexity",
    temperature: float = prune.TEMPERATURE,
    seed: int = 0,
    subset: Path | None = None,
    report: Path | None = None,
) -> None:
    """Density-based pruning: complex concepts keep more samples, and each keeps its hardest.

    Best after `dedup`, whose subset --subset takes.

    Args:
        shards: a folder, a glob, a brace pattern or one file, of shards or their sidecars.
        teacher: name of a teacher in the sidecars.
        keep: fraction to keep.
        output: the .subset.safetensors file to write.
        clusters: concepts; by default 100, fewer where they would hold less than 40 samples.
        density: what a concept's quota follows.
        temperature: of the softmax over complexities; smaller favours complex concepts more.
        seed: the same seed gives the same subset.
        subset: choose among the samples of this subset only.
        report: HTML file with figures, by default beside the output.
    """
    curation = Curation.open("prune", shards, output, subset, report)
    with curation.vectors(teacher) as vectors:
        found = prune.prune(
            vectors,
            keep=keep,
            clusters=clusters,
            density=density,
            temperature=temperature,
            seed=seed,
            on_progress=curation.progress,
        )
    count = len(found.quota)
    curation.finish(
        curation.pool.keep(found.kept),
        settings={
            "teacher": teacher,
            "keep": keep,
            "clusters": count,
            "density": density,
            "temperature": temperature,
            "seed": seed,
        },
        figures={
            "clusters": f"{count:,}",
            "clusters kept whole": f"{(found.quota == found.clusters.sizes).sum():,}",
        },
        sections=reports.prune_sections(curation.pool, found),
    )


def retrieve_data(
    shards: Shards,
    /,
    *,
    teacher: str,
    quota: int,
    output: Path,
    queries: Path | None = None,
    teacher_model: str | None = None,
    query_shards: str | None = None,
    subset: Path | None = None,
    report: Path | None = None,
) -> None:
    """Task-oriented transfer set: keep what resembles query pictures or texts, a quota for each.

    Queries come from --queries with --teacher-model, or from --query-shards, whose stored
    embeddings need no model.

    Args:
        shards: a folder, a glob, a brace pattern or one file, of shards or their sidecars.
        teacher: name of a teacher in the sidecars.
        quota: samples to keep for each query.
        output: the .subset.safetensors file to write.
        queries: a .txt with a query a line, a picture, a folder of pictures or a .tar of them.
        teacher_model: [NAME=]zoo:MODEL[@WEIGHTS] or [NAME=]open_clip:MODEL@TAG, the very teacher.
        query_shards: shards or sidecars reinforced by the same teacher, as queries.
        subset: choose among the samples of this subset only.
        report: HTML file with figures, by default beside the output.
    """
    curation = Curation.open("retrieve", shards, output, subset, report)
    looked_for = _queries(curation.pool, teacher, queries, teacher_model, query_shards)
    found = retrieve(
        curation.pool, teacher, looked_for.vectors, quota=quota, on_progress=curation.progress
    )
    short = int((found.counts < quota).sum())
    curation.finish(
        curation.pool.keep(found.kept),
        settings={"teacher": teacher, "quota": quota, "queries": len(looked_for.names)},
        figures={
            "queries": f"{len(looked_for.names):,}",
            "queries short of their quota": f"{short:,}",
            "median cosine to the query": f"{float(np.median(found.similarity)):.4f}",
        },
        sections=reports.retrieve_sections(curation.pool, found, looked_for),
    )


def balance_data(
    shards: Shards,
    /,
    *,
    output: Path,
    concepts: str = IMAGENET,
    cap: int | None = None,
    captions: balance.Captions = "all",
    subset: Path | None = None,
    report: Path | None = None,
) -> None:
    """Count the concepts that captions name, and weigh samples so that frequent ones count less.

    A sample's weight is min(1, cap / count) of its rarest concept; one without a concept is left
    out.

    Args:
        shards: a folder, a glob, a brace pattern or one file, of shards or their sidecars.
        output: the .subset.safetensors file to write.
        concepts: a text file with a concept a line, or "imagenet" for its class names.
        cap: samples a concept; by default rarer concepts hold 6 % of all matches, as in MetaCLIP.
        captions: which to read; the ground truth is in the shards, beside the sidecars.
        subset: choose among the samples of this subset only.
        report: HTML file with figures, by default beside the output.
    """
    curation = Curation.open("balance", shards, output, subset, report)
    names = imagenet_concepts() if concepts == IMAGENET else read_list(Path(concepts))
    found = balance.balance(
        curation.pool,
        ConceptIndex(names),
        cap=cap,
        captions=captions,
        on_progress=curation.progress,
    )
    curation.finish(
        curation.pool.keep(found.kept, found.weights[found.kept]),
        settings={"concepts": concepts, "cap": found.cap, "captions": captions},
        figures={
            "concepts named": f"{(found.counts > 0).sum():,} of {len(names):,}",
            "cap, samples a concept": f"{found.cap:,}",
            "samples seen an epoch": f"{found.weights.sum():,.0f}",
        },
        sections=reports.balance_sections(found),
    )


def _queries(
    pool: Pool,
    teacher: str,
    queries: Path | None,
    teacher_model: str | None,
    query_shards: str | None,
) -> Queries:
    stored = pool.teacher(teacher)
    if query_shards is not None and queries is None:
        query_pool = Pool.open(find_sidecars(query_shards))
        info = query_pool.teacher(teacher)
        check_same_teacher(stored, info.name, info.pretrained)
        return stored_queries(query_pool, teacher)
    if queries is None or query_shards is not None or teacher_model is None:
        raise ValueError("Give --queries with --teacher-model, or --query-shards alone.")
    model = load_teacher(teacher_model)
    check_same_teacher(stored, model.name, model.pretrained)
    return encode_queries(queries, model)
