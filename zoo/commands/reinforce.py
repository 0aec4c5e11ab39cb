"""`zoo reinforce`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import tyro

from zoo.commands.console import duration, say, status
from zoo.reinforced_data.augmentation.policy import AugmentationPolicy
from zoo.reinforced_data.engine.captioners import (
    Captioner,
    RetrievalCaptioner,
    read_candidates,
    shard_captions,
)
from zoo.reinforced_data.engine.reinforce import Progress
from zoo.reinforced_data.engine.reinforce import reinforce as run_engine
from zoo.reinforced_data.engine.teachers import Teacher, load_teacher
from zoo.reinforced_data.shards.find import find_shards
from zoo.reinforced_data.sidecars.embedding_storage import Storage

_MOBILECLIP_POLICY = AugmentationPolicy()


def reinforce(
    shards: Annotated[str, tyro.conf.Positional],
    /,
    *,
    teacher: tyro.conf.UseAppendAction[tuple[str, ...]],
    captioner: Literal["retrieval", "none"] = "retrieval",
    candidates: Path | None = None,
    captions: int = 5,
    augmentations: int = 10,
    policy: AugmentationPolicy = _MOBILECLIP_POLICY,
    storage: Storage = "int8",
    seed: int = 0,
    batch_size: int = 64,
    on_error: Literal["stop", "skip"] = "stop",
    overwrite: bool = False,
) -> None:
    """Write a sidecar beside every shard: augmentations, teacher embeddings, synthetic captions.

    Finished sidecars are kept, so that a run that was stopped goes on where it was.

    Args:
        shards: a folder, a glob, a brace pattern or one tar.
        teacher: [NAME=]zoo:MODEL[@WEIGHTS] or [NAME=]open_clip:MODEL@TAG; repeat for several.
        captioner: "retrieval" lets the first teacher choose among candidate sentences.
        candidates: text file with one sentence a line; by default the shards' own captions.
        captions: synthetic captions a picture.
        augmentations: recorded augmentations a picture.
        policy: what the augmentations are drawn from.
        storage: number format of the embeddings.
        seed: the same seed gives the same bytes.
        batch_size: pictures given to a teacher at once.
        on_error: what an unusable sample does: end the run, or be marked and listed.
        overwrite: make finished sidecars anew.
    """
    if not teacher:
        raise ValueError("There is no teacher; give one, e.g. --teacher zoo:mobileclip2-s0.")
    for name, value in (("captions", captions), ("augmentations", augmentations)):
        if value < 1:
            raise ValueError(f"--{name} is {value}; give at least 1 (or --captioner none).")
    teachers = [load_teacher(spec) for spec in teacher]
    report = run_engine(
        shards,
        teachers=teachers,
        captioner=_captioner(captioner, teachers, shards, candidates, seed),
        policy=policy,
        augmentations=augmentations,
        captions=captions if captioner != "none" else 0,
        seed=seed,
        storage=storage,
        batch_size=batch_size,
        on_error=on_error,
        on_progress=_show_progress,
        overwrite=overwrite,
    )
    for skipped in report.skipped:
        say(f"skipped {skipped}")
    say(
        f"wrote {len(report.written)} sidecars ({report.samples} samples, "
        f"{len(report.skipped)} of them unusable) in {duration(report.seconds)}; "
        f"kept {len(report.kept)} finished ones"
    )


def _captioner(
    name: str, teachers: list[Teacher], shards: str, candidates: Path | None, seed: int
) -> Captioner | None:
    if name == "none":
        return None
    sentences = (
        shard_captions(find_shards(shards)) if candidates is None else read_candidates(candidates)
    )
    return RetrievalCaptioner(teachers[0], sentences, seed=seed)


def _show_progress(progress: Progress) -> None:
    status(
        f"shards {progress.shards_done}/{progress.shards}, samples {progress.samples_done}, "
        f"{progress.samples_per_second:.0f} a second, {duration(progress.seconds_left)} left"
    )
