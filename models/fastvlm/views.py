"""The views of a picture that the tower sees: the whole, and with AnyRes its tiles."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from zoo.models.preprocess import ImageSource, Preprocessing, open_image


@dataclass(frozen=True, kw_only=True)
class Views:
    """Makes the views of a picture, each a square of the preprocessing's size."""

    preprocessing: Preprocessing

    def __call__(self, source: ImageSource) -> Tensor:
        """Return the views of a picture as float32 (V, 3, size, size), normalised.

        Raises what `Preprocessing` raises for what is not a picture.
        """
        if isinstance(source, Tensor):
            return self.preprocessing(source)[None]
        return self.preprocessing.normalize(self.pixels(open_image(source)))

    def pixels(self, image: Image.Image) -> Tensor:
        """Return the views of an RGB picture as uint8 (V, 3, size, size)."""
        views = [self.preprocessing.to_square(image)]
        return torch.stack([torch.from_numpy(np.array(view)).permute(2, 0, 1) for view in views])

    def count(self, width: int, height: int) -> int:
        """Return V for a picture of `width` x `height` pixels."""
        return 1
