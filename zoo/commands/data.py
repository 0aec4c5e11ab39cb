"""`zoo data tiny-world` and `zoo reinforce`."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

import tyro

from zoo.commands.console import duration, say, status
from zoo.reinforced_data.augmentation import AugmentationPolicy
from zoo.reinforced_data.captioners import (
    Captioner,
    RetrievalCaptioner,
    read_candidates,
    shard_captions,
)
from zoo.reinforced_data.embedding_storage import Storage
from zoo.reinforced_data.engine import Progress
from zoo.reinforced_data.engine import reinforce as run_engine
from zoo.reinforced_data.sample import Sample
from zoo.reinforced_data.shards import find_shards, write_shards
from zoo.reinforced_data.teachers import Teacher, load_teacher
from zoo.reinforced_data.tiny_world import class_names, scene_samples
from zoo.reinforced_data.tiny_world.scene import MAX_OBJECTS, Split

CLASS_NAMES_FILE = "classnames.txt"
_MOBILECLIP_POLICY = AugmentationPolicy()


def tiny_world(
    folder: Annotated[Path, tyro.conf.Positional],
    /,
    *,
    scenes: int = 4000,
    seed: int = 0,
    split: Split = "train",
    image_size: int = 64,
    max_objects: int = MAX_OBJECTS,
    captions_per_scene: int = 3,
    caption_noise: float = 0.0,
    samples_per_shard: int = 1000,
) -> None:
    """Write scenes of the tiny world as webdataset shards, and the class names beside them.

    Args:
        folder: where the tars go; it must hold none yet.
        scenes: how many.
        seed: the same seed gives the same bytes.
        split: "train" and "test" share no combination of colour and shape; "all" has every one.
        image_size: side of the pictures in pixels.
        max_objects: largest number of objects in a scene; with 1 they are larger.
        captions_per_scene: wordings of each scene.
        caption_noise: probability that a caption is uninformative or wrong, as on the web.
        samples_per_shard: scenes a tar.
    """
    samples = scene_samples(
        scenes,
        seed=seed,
        split=split,
        image_size=image_size,
        max_objects=max_objects,
        captions_per_scene=captions_per_scene,
        caption_noise=caption_noise,
    )
    shards = write_shards(
        _with_progress(samples, scenes), folder, samples_per_shard=samples_per_shard
    )
    (folder / CLASS_NAMES_FILE).write_text("\n".join(class_names()) + "\n", encoding="utf-8")
    say(f"wrote {scenes} scenes in {len(shards)} shards to {folder}")


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


def _with_progress(samples: Iterator[Sample], total: int) -> Iterator[Sample]:
    start = time.monotonic()
    for done, sample in enumerate(samples, start=1):
        yield sample
        if done % 1000 == 0 or done == total:
            rate = done / (time.monotonic() - start)
            left = duration((total - done) / rate)
            status(f"scenes {done}/{total}, {rate:.0f} a second, {left} left")


def _show_progress(progress: Progress) -> None:
    status(
        f"shards {progress.shards_done}/{progress.shards}, samples {progress.samples_done}, "
        f"{progress.samples_per_second:.0f} a second, {duration(progress.seconds_left)} left"
    )
