"""From a picture of any size to the square of pixels that a model looks at, without the model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from zoo.models.preprocess import Interpolation, Preprocessing

ResizeMode = Literal["shortest", "longest", "squash"]

_RESAMPLING = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """Resizing and cropping of a picture, the part of preprocessing before scaling.

    Small, hashable and picklable: worker processes prepare pictures without the model, and
    teachers whose preparations are equal share pixels. A picture that already has the size
    stays as it is. The pixels equal those of open_clip's evaluation transform (`transform.py`).
    """

    image_size: int
    """Side of the square, in pixels."""
    interpolation: Interpolation = "bicubic"
    resize_mode: ResizeMode = "shortest"
    """Which side becomes image_size: the shortest (the rest is cropped), the longest (the rest
    is filled), or both, out of proportion ("squash")."""
    fill: int = 0
    """Grey value 0…255 beside a picture whose longest side was resized."""

    def __post_init__(self) -> None:
        if self.resize_mode not in get_args(ResizeMode):
            raise ValueError(
                f"The resize mode is {self.resize_mode!r}; "
                f"give one of {', '.join(get_args(ResizeMode))}."
            )

    def __call__(self, image: Image.Image) -> Tensor:
        """Return the RGB picture `image` as uint8 (3, image_size, image_size)."""
        square = self._square(image)
        return torch.from_numpy(np.array(square)).permute(2, 0, 1).contiguous()

    def _square(self, image: Image.Image) -> Image.Image:
        size = self.image_size
        if self.resize_mode == "squash":
            return image.resize((size, size), _RESAMPLING[self.interpolation])
        if self.resize_mode == "longest":
            return self._fit_into_square(image)
        shortest = Preprocessing(image_size=size, interpolation=self.interpolation)
        return shortest.to_square(image)

    def _fit_into_square(self, image: Image.Image) -> Image.Image:
        size = self.image_size
        ratio = max(image.width, image.height) / size
        # At least one pixel: open_clip fails at pictures that would lose their last one.
        width, height = (max(1, round(side / ratio)) for side in image.size)
        square = Image.new("RGB", (size, size), (self.fill,) * 3)
        resized = image.resize((width, height), _RESAMPLING[self.interpolation])
        square.paste(resized, ((size - width) // 2, (size - height) // 2))
        return square
