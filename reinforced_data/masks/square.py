"""The square that SAM's tower sees, as the bytes that a loader hands on."""

from __future__ import annotations

import numpy as np
from PIL import Image

from zoo.models.preprocess import IMAGENET_MEAN, RESAMPLING
from zoo.models.sam_clip.frame import Frame

MEAN_COLOUR = tuple(round(255 * channel) for channel in IMAGENET_MEAN)
"""Colour of the padding. SAM pads with zeros after normalising; normalised, this is 0.008 away from
zero at most, less than half of what one level of a pixel makes."""


def square_pixels(image: Image.Image, side: int) -> np.ndarray:
    """Return an RGB picture in SAM's square, at its upper left: uint8 (side, side, 3).

    The pixels are those of `Frame.square` before they are normalised.
    """
    width, height = Frame.around(image, side).inner
    square = np.full((side, side, 3), MEAN_COLOUR, np.uint8)
    square[:height, :width] = np.asarray(image.resize((width, height), RESAMPLING["bilinear"]))
    return square
