"""What an inspection finds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Kind = Literal["tar", "webdataset", "sample", "sidecar"]
"""Damage of the tar; what webdataset would lose; an unusable sample; a sidecar that is wrong."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that is wrong, in a sentence that names file and key, and what to do about it."""

    file: Path
    """The shard, or its sidecar."""
    key: str | None
    """The sample; None for the file as a whole."""
    kind: Kind
    what: str
    advice: str

    def __str__(self) -> str:
        return f"{self.what} {self.advice}"
