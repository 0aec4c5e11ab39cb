"""The metadata of a sidecar: what was computed, by whom, from which shard."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from zoo.reinforced_data.augmentation.policy import AugmentationPolicy
from zoo.reinforced_data.sidecars.embedding_storage import Storage

FORMAT = "zoo-reinforced-data"
FORMAT_VERSION = "1"


@dataclass(frozen=True, kw_only=True)
class TeacherInfo:
    """What a sidecar says about a teacher: `logit_scale` is the multiplier (e.g. 100.0)."""

    name: str
    pretrained: str
    embed_dim: int
    image_size: int
    logit_scale: float
    storage: Storage


@dataclass(frozen=True, kw_only=True)
class SidecarHeader:
    """The metadata of a sidecar."""

    shard: str
    """File name of the shard."""
    shard_bytes: int
    samples: int
    augmentation: AugmentationPolicy
    augmentations: int
    """Augmentations a sample, A."""
    captions: int
    """Synthetic captions a sample, C."""
    captioner: Mapping[str, Any]
    """Name and settings; empty without a captioner."""
    teachers: tuple[TeacherInfo, ...]
    seed: int
    packages: Mapping[str, str]
    """Versions of what computed it."""

    def to_metadata(self) -> dict[str, str]:
        """Return the header as safetensors metadata: strings, the nested ones as JSON."""
        return {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "shard": self.shard,
            "shard_bytes": str(self.shard_bytes),
            "samples": str(self.samples),
            "augmentation": _json(self.augmentation.to_header()),
            "augmentations": str(self.augmentations),
            "captions": str(self.captions),
            "captioner": _json(dict(self.captioner)),
            "teachers": _json([asdict(teacher) for teacher in self.teachers]),
            "seed": str(self.seed),
            "packages": _json(dict(self.packages)),
        }

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str], path: Path | str) -> SidecarHeader:
        """Rebuild the header of the file at `path`, which may be a URL.

        Raises ValueError for another format or version, or augmentations that cannot be replayed.
        """
        found = metadata.get("format"), metadata.get("format_version")
        if found != (FORMAT, FORMAT_VERSION):
            raise ValueError(
                f"'{path}' has format {found[0]!r} version {found[1]!r}, but this zoo reads "
                f"{FORMAT!r} version {FORMAT_VERSION!r}; reinforce its shard again."
            )
        return cls(
            shard=metadata["shard"],
            shard_bytes=int(metadata["shard_bytes"]),
            samples=int(metadata["samples"]),
            augmentation=AugmentationPolicy.from_header(json.loads(metadata["augmentation"])),
            augmentations=int(metadata["augmentations"]),
            captions=int(metadata["captions"]),
            captioner=json.loads(metadata["captioner"]),
            teachers=tuple(TeacherInfo(**teacher) for teacher in json.loads(metadata["teachers"])),
            seed=int(metadata["seed"]),
            packages=json.loads(metadata["packages"]),
        )


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True)
