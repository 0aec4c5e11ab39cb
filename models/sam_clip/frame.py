"""SAM's picture geometry: the longer side fills a square, the rest of the square is padding.

Source: `utils/transforms.py` (ResizeLongestSide), `modeling/sam.py` (preprocess, postprocess_masks)
and `modeling/prompt_encoder.py` of segment-anything.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from zoo.models.preprocess import (
    RESAMPLING,
    ImageSource,
    Interpolation,
    Preprocessing,
    check_image_tensor,
    open_image,
)

Picture = Image.Image | Tensor
"""An upright RGB picture, or float32 (3, H, W) in [0, 1]."""
_MAPS_AT_ONCE = 16
"""Maps in one pass through the square: 64 MB of float32 at 1024 pixels."""


@dataclass(frozen=True, kw_only=True)
class Frame:
    """Where a picture lies in the square that SAM's tower sees: at its upper left."""

    side: int
    """Of the square, in pixels."""
    width: int
    """Of the picture, in pixels."""
    height: int

    @classmethod
    def around(cls, picture: Picture, side: int) -> Self:
        """Return the frame of `picture` in a square of `side` pixels."""
        width, height = picture_size(picture)
        return cls(side=side, width=width, height=height)

    @property
    def inner(self) -> tuple[int, int]:
        """Width and height of the picture inside the square, in pixels; one of them is the side."""
        scale = self.side / max(self.width, self.height)
        return max(1, int(self.width * scale + 0.5)), max(1, int(self.height * scale + 0.5))

    def square(self, picture: Picture, preprocessing: Preprocessing) -> Tensor:
        """Return the normalised square, float32 (3, side, side).

        SAM pads with zeros after normalising, which is the mean colour.
        """
        width, height = self.inner
        pixels = preprocessing.normalize(resized(picture, width, height, "bilinear"))
        return F.pad(pixels, (0, self.side - width, 0, self.side - height))

    def fractions(self, pixels: Tensor) -> Tensor:
        """Return float32 fractions of the square of x and y (…, 2) in pixels of the picture.

        SAM adds half a pixel of the square to every coordinate, a box's corners included
        (`_embed_points`, `_embed_boxes`).
        """
        scale = torch.tensor(self.inner).double() / torch.tensor((self.width, self.height))
        return ((pixels.cpu().double() * scale + 0.5) / self.side).float()

    def covered(self, rows: int, columns: int) -> tuple[int, int]:
        """How many of a grid's rows and columns over the square show some of the picture."""
        width, height = self.inner
        return math.ceil(height * rows / self.side), math.ceil(width * columns / self.side)

    def to_picture(self, maps: Tensor) -> Tensor:
        """Return maps (C, h, w) over the square as float32 (C, height, width) over the picture.

        Bilinear to the square, the padding cut off, bilinear to the picture: the steps of
        `postprocess_masks`.
        """
        return torch.cat([self._to_picture(some[None])[0] for some in maps.split(_MAPS_AT_ONCE)])

    def _to_picture(self, maps: Tensor) -> Tensor:
        width, height = self.inner
        square = enlarged(maps.float(), self.side, self.side)
        return enlarged(square[..., :height, :width], self.height, self.width)


def open_picture(source: ImageSource) -> Picture:
    """Return a path, bytes, PIL image or tensor (3, H, W) as a `Picture`.

    Raises ValueError for what is not a picture and FileNotFoundError for a missing file.
    """
    return check_image_tensor(source) if isinstance(source, Tensor) else open_image(source)


def picture_size(picture: Picture) -> tuple[int, int]:
    """Return width and height in pixels."""
    if isinstance(picture, Tensor):
        return picture.shape[2], picture.shape[1]
    return picture.size


def squashed(picture: Picture, side: int, preprocessing: Preprocessing) -> Tensor:
    """Return the whole picture as a normalised square, float32 (3, side, side), not in proportion.

    The protocol of SAM-CLIP's segmentation by the CLIP head alone.
    """
    return preprocessing.normalize(resized(picture, side, side, preprocessing.interpolation))


def resized(picture: Picture, width: int, height: int, interpolation: Interpolation) -> Tensor:
    """Return the picture's pixels (3, height, width): uint8, or float32 of a tensor."""
    if isinstance(picture, Image.Image):
        pixels = np.array(picture.resize((width, height), RESAMPLING[interpolation]))
        return torch.from_numpy(pixels).permute(2, 0, 1)
    size = (height, width)
    grown = F.interpolate(picture[None], size, mode=interpolation, antialias=True)[0]
    return grown.clamp(0, 1)


def enlarged(maps: Tensor, height: int, width: int) -> Tensor:
    """Return maps (N, C, h, w) at another size, bilinear, as SAM and mmseg resize logits."""
    return F.interpolate(maps, (height, width), mode="bilinear", align_corners=False)
