"""The pieces in which a loss goes through the similarities of a batch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Tiling:
    """How much of a matrix of similarities is in memory at once."""

    side: int
    """Rows and columns of a tile; tiles at the edges are smaller."""
    kept_bytes: int = 0
    """Tiles that are needed twice are kept up to this size, and computed again beyond it."""

    def __post_init__(self) -> None:
        if self.side < 1 or self.kept_bytes < 0:
            raise ValueError(
                f"Tiling(side={self.side}, kept_bytes={self.kept_bytes}) cannot be; "
                "a side is at least 1 and a size 0 or more."
            )

    def spans(self, length: int) -> Iterator[slice]:
        """Return the slices that divide `length` rows or columns."""
        return (
            slice(start, min(start + self.side, length)) for start in range(0, length, self.side)
        )

    def scratch(self, like: Tensor) -> Tensor:
        """Return room for one tile, for `fit`."""
        return like.new_empty(self.side**2)


# On a CPU four float32 tiles share a core's cache; a GPU wants few and large multiplications.
_ON_CPU = Tiling(side=512, kept_bytes=64 * 2**20)
_ON_GPU = Tiling(side=4096, kept_bytes=2**30)


def tiling_for(device: torch.device) -> Tiling:
    """Return what is fast on a device."""
    return _ON_CPU if device.type == "cpu" else _ON_GPU


def fit(scratch: Tensor, rows: slice, columns: slice) -> Tensor:
    """Return the first entries of `scratch` as a contiguous tile."""
    height, width = rows.stop - rows.start, columns.stop - columns.start
    return scratch[: height * width].view(height, width)


def dot(one: Tensor, other: Tensor) -> Tensor:
    """Return the float64 sum of the products of all entries."""
    return torch.linalg.vecdot(one, other).sum(dtype=torch.float64)
