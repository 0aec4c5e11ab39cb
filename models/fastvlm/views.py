"""The views of a picture that the tower sees: the whole, and with AnyRes its tiles."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from zoo.models.preprocess import RESAMPLING, ImageSource, Preprocessing, open_image

_BLACK = (0, 0, 0)


class Grid(NamedTuple):
    """How many tiles a picture is cut into."""

    columns: int
    rows: int


@dataclass(frozen=True, kw_only=True)
class Views:
    """Makes the views of a picture, each a square of the preprocessing's size.

    Without `grids` a picture is one view, padded or cropped as the preprocessing says. With them
    it is what LLaVA calls AnyRes (`process_anyres_image` in `mm_utils.py`): first the whole picture
    squashed to a square, then the tiles, row by row, of the grid that fits it best. FastVLM's own
    is `((2, 2),)`: five views, 1280 tokens at 1024 pixels (appendix C.1, table 10).
    """

    preprocessing: Preprocessing
    grids: tuple[tuple[int, int], ...] = ()
    """Columns and rows of tiles to choose from, such as `((1, 2), (2, 1), (2, 2))`."""

    def __post_init__(self) -> None:
        for grid in self.grids:
            if len(grid) != 2 or min(grid) < 1:
                raise ValueError(
                    f"The grid {grid} is not (columns, rows) of at least one tile; give pairs such "
                    "as (2, 2)."
                )

    def __call__(self, source: ImageSource) -> Tensor:
        """Return the views of a picture as float32 (V, 3, size, size), normalised.

        Raises what `Preprocessing` raises for what is not a picture, and ValueError for a tensor
        where there are grids.
        """
        if not isinstance(source, Tensor):
            return self.preprocessing.normalize(self.pixels(open_image(source)))
        if self.grids:
            raise ValueError(
                "AnyRes cuts its tiles from pictures, not from tensors; pass a file or a PIL image."
            )
        return self.preprocessing(source)[None]

    def pixels(self, image: Image.Image) -> Tensor:
        """Return the views of an upright RGB picture as uint8 (V, 3, size, size)."""
        views = self._tiled(image) if self.grids else [self.preprocessing.to_square(image)]
        return torch.stack([torch.from_numpy(np.array(view)).permute(2, 0, 1) for view in views])

    def count(self, width: int, height: int) -> int:
        """Return V for an upright picture of `width` x `height` pixels."""
        if not self.grids:
            return 1
        return 1 + math.prod(self.best_grid(width, height))

    def best_grid(self, width: int, height: int) -> Grid:
        """Return the grid that keeps most of a picture's pixels, and of those that keep as many,
        the one with the least padding; the first of equals (`select_best_resolution`).

        `grids` must not be empty.
        """
        return max(
            (Grid(*grid) for grid in self.grids), key=lambda grid: self._fit(grid, width, height)
        )

    def _fit(self, grid: Grid, width: int, height: int) -> tuple[int, int]:
        """Pixels kept, and minus those wasted: the larger, the better."""
        columns, rows = self._pixels_of(grid)
        scale = min(columns / width, rows / height)
        kept = min(int(width * scale) * int(height * scale), width * height)
        return kept, kept - columns * rows

    def _tiled(self, image: Image.Image) -> list[Image.Image]:
        size = self.preprocessing.image_size
        grid = self.best_grid(*image.size)
        canvas = self._fitted(image, *self._pixels_of(grid))
        corners = [(size * x, size * y) for y in range(grid.rows) for x in range(grid.columns)]
        tiles = [canvas.crop((left, top, left + size, top + size)) for left, top in corners]
        return [image.resize((size, size), self._resampling), *tiles]

    def _fitted(self, image: Image.Image, width: int, height: int) -> Image.Image:
        """The picture as large as it fits in `width` x `height`, centred on black; the side that
        does not fill it is rounded up (`resize_and_pad_image`)."""
        scale_x, scale_y = width / image.width, height / image.height
        if scale_x < scale_y:
            resized = width, min(math.ceil(image.height * scale_x), height)
        else:
            resized = min(math.ceil(image.width * scale_y), width), height
        canvas = Image.new("RGB", (width, height), _BLACK)
        corner = (width - resized[0]) // 2, (height - resized[1]) // 2
        canvas.paste(image.resize(resized, self._resampling), corner)
        return canvas

    def _pixels_of(self, grid: Grid) -> tuple[int, int]:
        size = self.preprocessing.image_size
        return grid.columns * size, grid.rows * size

    @property
    def _resampling(self) -> Image.Resampling:
        return RESAMPLING[self.preprocessing.interpolation]
