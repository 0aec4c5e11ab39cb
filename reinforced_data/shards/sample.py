"""One image with what is known about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One sample of a shard, undecoded."""

    key: str
    """Name of the sample, unique inside its shard; may hold a folder (`a/b/000012`)."""
    image: bytes
    """The encoded picture (JPEG, PNG or WebP), never empty."""
    captions: tuple[str, ...] = ()
    """Ground-truth captions, one line each; empty when the shard has none."""
    label: int | None = None
    """Class index, where the shard has one."""
    extra: Mapping[str, bytes] = field(default_factory=dict)
    """Every other member by its suffix, such as `json`, `mask.png` or `paug.json`."""
