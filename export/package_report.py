"""What an export left behind: sizes, ops, agreement with the model, seconds."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from zoo.export.verify import Verification

EXECUTED_BY = (
    "zoo's interpreter, from the saved file; nothing was run inside Apple's Core ML runtime"
)


@dataclass(frozen=True, kw_only=True)
class PartReport:
    """One package of an export."""

    package: Path
    bytes: int
    """Size of all files of the package."""
    op_histogram: dict[str, int]
    verification: Verification
    conversion_seconds: float
    """Wall time from the model to the saved package, without verification."""


@dataclass(frozen=True, kw_only=True)
class ExportReport:
    """All packages of one model."""

    model: str
    weights_sha256: str
    precision: str
    minimum_deployment_target: str
    versions: dict[str, str]
    parts: dict[str, PartReport]
    """By name: `image` and `text` of an image-text model, `masks` too of SAM-CLIP, `vision` of
    FastVLM."""

    def to_record(self) -> dict[str, Any]:
        """Return the report as plain values for one JSON line; sizes in bytes, times in seconds."""
        record = asdict(self)
        for part in record["parts"].values():
            part["package"] = str(part["package"])
        return {**record, "executed_by": EXECUTED_BY}


def package_bytes(package: Path) -> int:
    """Return the size of all files under the folder `package`, in bytes."""
    return sum(path.stat().st_size for path in package.rglob("*") if path.is_file())
