"""From the bytes of a picture to the pixels of a view, exactly as the teacher saw it or fast."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image

from zoo.models.preprocess import DECODING_ERRORS, open_image
from zoo.reinforced_data.augmentation.fast import replay_jpeg
from zoo.reinforced_data.augmentation.policy import AugmentationPolicy

Pixels = Literal["exact", "fast"]
"""exact: Pillow's, those that the teacher saw; fast: within the tolerance of `replay_jpeg`."""

_ORIENTATION_TAG = 0x0112
_FIRST_TURNED = 5  # EXIF orientations 5…8 exchange width and height


@dataclass(frozen=True)
class Renderer:
    """Makes views of `size` × `size` pixels."""

    size: int
    pixels: Pixels

    def __call__(self, data: bytes, params: np.ndarray, policy: AugmentationPolicy) -> np.ndarray:
        """Return the augmentation `params` (P,) of an encoded picture: uint8 (size, size, 3).

        Raises ValueError for a damaged picture and for `params` of another policy.
        """
        if self.pixels == "fast":
            return replay_jpeg(data, params, policy, self.size)
        return np.asarray(policy.replay(open_image(data), params, self.size))


def upright_size(data: bytes) -> tuple[int, int]:
    """Return width and height of `open_image(data)`, as a rule without decoding it.

    Raises ValueError for a damaged picture.
    """
    try:
        image = Image.open(io.BytesIO(data))
        turned = image.getexif().get(_ORIENTATION_TAG, 1) >= _FIRST_TURNED
    except DECODING_ERRORS:
        return open_image(data).size  # raises the sentence for what is no picture
    return (image.height, image.width) if turned else image.size
