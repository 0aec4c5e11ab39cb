"""Boxes of a recorded augmentation: drawn at random, kept in fractions, turned into pixels.

A fraction stored as float32 is off by less than half a pixel up to pictures of millions of pixels
a side, so that rounding gives back the very pixels that were drawn.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

_ATTEMPTS = 10  # torchvision's RandomResizedCrop and RandomErasing give up after as many
_ERASED_AREA = (0.02, 0.33)  # of the picture; torchvision's RandomErasing
_ERASED_HEIGHT_TO_WIDTH = (0.3, 3.3)

PixelBox = tuple[int, int, int, int]
"""Left, top, right, bottom: the last two are the first pixels outside."""


def draw_crop(
    rng: np.random.Generator,
    width: int,
    height: int,
    scale: tuple[float, float],
    ratio: tuple[float, float],
) -> tuple[float, float, float, float]:
    """Draw the box of a random resized crop: left, top, width and height in fractions.

    The area is uniform in `scale` (of the picture's), width / height log-uniform in `ratio`; the
    edges are whole pixels of the picture of `width` × `height`.
    """
    left, top, crop_width, crop_height = _draw_pixels(rng, width, height, scale, ratio)
    return left / width, top / height, crop_width / width, crop_height / height


def crop_pixels(box: Sequence[float], width: int, height: int) -> PixelBox:
    """Return the pixels of the crop `box` (fractions) in a picture of `width` × `height`.

    On a copy of another size than the one that the box was drawn for, the box still lies inside
    the picture and holds at least one pixel.
    """
    left, top = round(box[0] * width), round(box[1] * height)
    crop_width, crop_height = max(1, round(box[2] * width)), max(1, round(box[3] * height))
    # On a copy of another size the two roundings may reach one pixel over the edge.
    right, bottom = min(left + crop_width, width), min(top + crop_height, height)
    return min(left, right - 1), min(top, bottom - 1), right, bottom


def draw_erased(rng: np.random.Generator) -> tuple[float, float, float, float]:
    """Draw the box that random erasing fills: left, top, width and height in fractions.

    Area and shape are those of torchvision's `RandomErasing`. Where no box fits in ten attempts
    (practically never) nothing is erased; the originals would erase the whole picture.
    """
    low, high = (math.log(ratio) for ratio in _ERASED_HEIGHT_TO_WIDTH)
    for _ in range(_ATTEMPTS):
        area, ratio = rng.uniform(*_ERASED_AREA), math.exp(rng.uniform(low, high))
        width, height = math.sqrt(area / ratio), math.sqrt(area * ratio)
        if width < 1 and height < 1:
            return rng.uniform(0, 1 - width), rng.uniform(0, 1 - height), width, height
    return 0.0, 0.0, 0.0, 0.0


def erased_pixels(box: Sequence[float], size: int) -> PixelBox:
    """Return the pixels of the erased `box` (fractions) in a view of `size` × `size`."""
    left, top, width, height = box
    right, bottom = round((left + width) * size), round((top + height) * size)
    return round(left * size), round(top * size), right, bottom


def _draw_pixels(
    rng: np.random.Generator,
    width: int,
    height: int,
    scale: tuple[float, float],
    ratio: tuple[float, float],
) -> tuple[int, int, int, int]:
    """Left, top, width and height in pixels."""
    for _ in range(_ATTEMPTS):
        area = width * height * rng.uniform(*scale)
        shape = math.exp(rng.uniform(math.log(ratio[0]), math.log(ratio[1])))
        crop_width, crop_height = round(math.sqrt(area * shape)), round(math.sqrt(area / shape))
        if 0 < crop_width <= width and 0 < crop_height <= height:
            left = int(rng.integers(width - crop_width + 1))
            top = int(rng.integers(height - crop_height + 1))
            return left, top, crop_width, crop_height
    return _central_crop(width, height, ratio)


def _central_crop(width: int, height: int, ratio: tuple[float, float]) -> tuple[int, int, int, int]:
    """The largest centred box whose aspect ratio is allowed."""
    shape = min(max(width / height, ratio[0]), ratio[1])
    crop_width = max(1, min(width, round(height * shape)))
    crop_height = max(1, min(height, round(width / shape)))
    return (width - crop_width) // 2, (height - crop_height) // 2, crop_width, crop_height
