"""The work on one shard: what to compute, and computing it, as a plain function."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from zoo.reinforced_data.augmentation.policy import AugmentationPolicy
from zoo.reinforced_data.engine.captioners import Captioner
from zoo.reinforced_data.engine.teachers import Teacher
from zoo.reinforced_data.randomness import keyed_rng
from zoo.reinforced_data.shards.index import ShardIndex, load_picture
from zoo.reinforced_data.sidecars.embedding_storage import STORAGES, Storage
from zoo.reinforced_data.sidecars.header import SidecarHeader, TeacherInfo
from zoo.reinforced_data.sidecars.sidecar import SidecarRows, sidecar_path, write_sidecar

OnError = Literal["stop", "skip"]

_PACKAGES = ("numpy", "open_clip_torch", "pillow", "timm", "torch", "torchvision", "zoo")


@dataclass(frozen=True, kw_only=True)
class Reinforcement:
    """What to compute for every shard; together with the shard it decides the sidecar's content."""

    teachers: Sequence[Teacher]
    policy: AugmentationPolicy = field(default_factory=AugmentationPolicy)
    augmentations: int = 10
    """Recorded augmentations a picture."""
    captioner: Captioner | None = None
    captions: int = 0
    """Synthetic captions a picture."""
    seed: int = 0
    storage: Storage = "int8"
    batch_size: int = 64
    """Pictures given to a teacher at once."""
    on_error: OnError = "stop"
    """An unusable sample: "stop" ends the run, "skip" keeps its row, marked as not valid."""

    def __post_init__(self) -> None:
        names = [teacher.name for teacher in self.teachers]
        if not names or len(set(names)) < len(names):
            raise ValueError(
                f"The teachers are {names}; give at least one, each with its own name."
            )
        for name in ("augmentations", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; give at least 1.")
        if (self.captioner is None) != (self.captions == 0) or self.captions < 0:
            raise ValueError(
                f"captions is {self.captions} {'with' if self.captioner else 'without'} a "
                "captioner; give a captioner and how many captions a picture it makes, or neither."
            )
        if self.storage not in STORAGES:
            raise ValueError(f"storage is {self.storage!r}; give one of {', '.join(STORAGES)}.")


@dataclass(frozen=True)
class SkippedSample:
    """A sample that keeps its row but is not valid, and why."""

    shard: Path
    key: str
    reason: str


def process_shard(
    shard: Path,
    settings: Reinforcement,
    on_batch: Callable[[int, int], None] | None = None,
) -> list[SkippedSample]:
    """Compute one shard's sidecar and write it whole; returns the samples that are not valid.

    `on_batch(samples of this batch, samples of the shard)` is called after each batch.
    """
    index = ShardIndex(shard)
    header = shard_header(shard, len(index), settings)
    rows = _empty_rows(index, settings)
    skipped: list[SkippedSample] = []
    for start in range(0, len(index), settings.batch_size):
        batch = range(start, min(start + settings.batch_size, len(index)))
        skipped += _fill_batch(rows, index, batch, settings)
        if on_batch is not None:
            on_batch(len(batch), len(index))
    write_sidecar(sidecar_path(shard), header, rows)
    return skipped


def _fill_batch(
    rows: SidecarRows, index: ShardIndex, batch: range, settings: Reinforcement
) -> list[SkippedSample]:
    pictures: dict[int, tuple[Image.Image, str]] = {}
    skipped = []
    for i in batch:
        try:
            sample, image = load_picture(index, i)
            pictures[i] = image, sample.captions[0]
        except ValueError as error:
            if settings.on_error == "stop":
                raise
            skipped.append(SkippedSample(index.path, index.keys[i], str(error)))
    if pictures:
        used = list(pictures)
        images, captions = zip(*pictures.values(), strict=True)
        rows.valid[used] = True
        _fill_images(rows, used, images, settings)
        _fill_texts(rows, used, images, captions, settings)
    return skipped


def _fill_images(
    rows: SidecarRows, used: list[int], images: Sequence[Image.Image], settings: Reinforcement
) -> None:
    policy = settings.policy
    for i, image in zip(used, images, strict=True):
        rng = keyed_rng(settings.seed, "augment", rows.keys[i])
        for a in range(settings.augmentations):
            rows.augment_params[i, a] = policy.record(rng, image.width, image.height)
    for a in range(settings.augmentations):
        records = list(zip(images, rows.augment_params[used, a], strict=True))
        # Each teacher sees the view at its own resolution; teachers of one resolution share it.
        views = {
            size: [policy.replay(image, params, size) for image, params in records]
            for size in {teacher.image_size for teacher in settings.teachers}
        }
        for teacher in settings.teachers:
            embeddings = teacher.encode_images(views[teacher.image_size])
            rows.image_embeddings[teacher.name][used, a] = embeddings


def _fill_texts(
    rows: SidecarRows,
    used: list[int],
    images: Sequence[Image.Image],
    captions: Sequence[str],
    settings: Reinforcement,
) -> None:
    synthetic = [()] * len(used)
    if settings.captioner is not None:
        keys = [rows.keys[i] for i in used]
        synthetic = settings.captioner.captions(images, keys, settings.captions)
    for i, made in zip(used, synthetic, strict=True):
        rows.captions[i] = made
    texts = [[first, *made] for first, made in zip(captions, synthetic, strict=True)]
    for teacher in settings.teachers:
        embeddings = teacher.encode_texts([text for row in texts for text in row])
        rows.text_embeddings[teacher.name][used] = embeddings.reshape(
            len(used), -1, teacher.embed_dim
        )


def _empty_rows(index: ShardIndex, settings: Reinforcement) -> SidecarRows:
    n, a, c = len(index), settings.augmentations, settings.captions
    dims = {teacher.name: teacher.embed_dim for teacher in settings.teachers}
    return SidecarRows(
        keys=index.keys,
        valid=np.zeros(n, bool),
        augment_params=np.zeros((n, a, len(settings.policy.columns)), np.float32),
        captions=[("",) * c for _ in range(n)],
        image_embeddings={name: np.zeros((n, a, dim), np.float32) for name, dim in dims.items()},
        text_embeddings={name: np.zeros((n, 1 + c, dim), np.float32) for name, dim in dims.items()},
    )


def shard_header(shard: Path, samples: int, settings: Reinforcement) -> SidecarHeader:
    """Return the metadata of the sidecar that `settings` make of `shard`."""
    return SidecarHeader(
        shard=shard.name,
        shard_bytes=shard.stat().st_size,
        samples=samples,
        augmentation=settings.policy,
        augmentations=settings.augmentations,
        captions=settings.captions,
        captioner=settings.captioner.settings if settings.captioner else {},
        teachers=tuple(_teacher_info(teacher, settings.storage) for teacher in settings.teachers),
        seed=settings.seed,
        packages={name: version(name) for name in _PACKAGES},
    )


def _teacher_info(teacher: Teacher, storage: Storage) -> TeacherInfo:
    return TeacherInfo(
        name=teacher.name,
        pretrained=teacher.pretrained,
        embed_dim=teacher.embed_dim,
        image_size=teacher.image_size,
        logit_scale=teacher.logit_scale,
        storage=storage,
    )
