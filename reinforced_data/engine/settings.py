"""What the engine is asked to compute for every shard."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import version
from typing import Literal

from zoo.reinforced_data.augmentation.policy import AugmentationPolicy
from zoo.reinforced_data.engine.captioners.protocol import Captioner
from zoo.reinforced_data.engine.teachers import Teacher
from zoo.reinforced_data.sidecars.embedding_storage import STORAGES, Storage
from zoo.reinforced_data.sidecars.header import SidecarHeader, TeacherInfo

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
    storage: Storage | tuple[Storage, ...] = "int8"
    """Number format of the embeddings: one for all teachers, or one for each in their order."""
    batch_size: int = 64
    """Views or texts given to a teacher at once."""
    on_error: OnError = "stop"
    """An unusable sample: "stop" ends the run, "skip" keeps its row, marked as not valid."""
    extend: bool = False
    """Add the teachers to sidecars that are there, whose own policy, augmentations, captions and
    seed are used in place of those above."""

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
        given = self._storages
        if len(given) not in (1, len(names)) or not set(given) <= set(STORAGES):
            raise ValueError(
                f"storage is {', '.join(given)} for {len(names)} teachers; give one of "
                f"{', '.join(STORAGES)}, or one for each teacher."
            )

    @cached_property
    def teacher_infos(self) -> tuple[TeacherInfo, ...]:
        """What the sidecars say about the teachers, in their order."""
        given = self._storages
        storages = given * len(self.teachers) if len(given) == 1 else given
        return tuple(map(_teacher_info, self.teachers, storages))

    @property
    def _storages(self) -> tuple[Storage, ...]:
        return self.storage if isinstance(self.storage, tuple) else (self.storage,)

    @cached_property
    def header(self) -> SidecarHeader:
        """The metadata of the sidecars, still without those of a shard."""
        return SidecarHeader(
            shard="",
            shard_bytes=0,
            samples=0,
            augmentation=self.policy,
            augmentations=self.augmentations,
            captions=self.captions,
            captioner=self.captioner.settings if self.captioner else {},
            teachers=self.teacher_infos,
            seed=self.seed,
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
