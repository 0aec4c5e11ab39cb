"""What the engine needs of a captioner."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from PIL import Image


class Captioner(Protocol):
    """Gives each picture synthetic captions."""

    @property
    def settings(self) -> Mapping[str, Any]:
        """Name and everything the captions depend on, as JSON values: goes into the sidecar."""
        ...

    def captions(
        self, images: Sequence[Image.Image], keys: Sequence[str], count: int
    ) -> list[tuple[str, ...]]:
        """Return `count` captions of each RGB picture; chance may depend on its key alone."""
        ...
