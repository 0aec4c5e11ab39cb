"""The metadata of a mask sidecar: what was asked, who answered, of which shard."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from zoo.reinforced_data.masks.codec import LEVELS, SATURATION
from zoo.reinforced_data.masks.prompts import POLICY
from zoo.reinforced_data.masks.teacher import MaskTeacherInfo

FORMAT = "zoo-mask-data"
FORMAT_VERSION = "1"
CODEC = f"{LEVELS} levels of probability, logits within {SATURATION:g}, deflate"


@dataclass(frozen=True, kw_only=True)
class MaskHeader:
    """The metadata of a mask sidecar."""

    shard: str
    """File name of the shard."""
    shard_bytes: int
    samples: int
    teacher: MaskTeacherInfo
    masks_per_picture: int
    seed: int
    packages: Mapping[str, str]
    """Versions of what computed it."""

    def to_metadata(self) -> dict[str, str]:
        """Return the header as safetensors metadata: strings, the nested ones as JSON."""
        return {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "codec": CODEC,
            "prompts": POLICY,
            "shard": self.shard,
            "shard_bytes": str(self.shard_bytes),
            "samples": str(self.samples),
            "teacher": json.dumps(asdict(self.teacher), sort_keys=True),
            "masks_per_picture": str(self.masks_per_picture),
            "seed": str(self.seed),
            "packages": json.dumps(dict(self.packages), sort_keys=True),
        }

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str], path: Path) -> MaskHeader:
        """Rebuild the header of the file at `path`; ValueError for another format or version."""
        found = tuple(metadata.get(name) for name in ("format", "format_version", "codec"))
        if found != (FORMAT, FORMAT_VERSION, CODEC):
            raise ValueError(
                f"'{path}' has format {found[0]!r} version {found[1]!r} ({found[2]}), but this zoo "
                f"reads {FORMAT!r} version {FORMAT_VERSION!r} ({CODEC}); make it again with "
                "`zoo reinforce masks`."
            )
        return cls(
            shard=metadata["shard"],
            shard_bytes=int(metadata["shard_bytes"]),
            samples=int(metadata["samples"]),
            teacher=MaskTeacherInfo(**json.loads(metadata["teacher"])),
            masks_per_picture=int(metadata["masks_per_picture"]),
            seed=int(metadata["seed"]),
            packages=json.loads(metadata["packages"]),
        )
