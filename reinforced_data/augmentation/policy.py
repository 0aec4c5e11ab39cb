"""Recorded augmentation: drawn once as numbers without a resolution, replayed at any size.

The random resized crop and RandAugment are those of MobileCLIP's data
(`training/dr/transforms.py`, torchvision's defaults), except that translations are a fraction of
the picture: the original stores pixels at 224, which moves too little at any larger size.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from PIL import Image
from torchvision.transforms import functional as F

from zoo.reinforced_data.augmentation.randaugment import RANDAUGMENT_OPS

AUGMENTATION_VERSION = "1"
"""Meaning of the recorded numbers; raised when the same numbers would replay to other pixels."""

_CROP_COLUMNS = ("crop_left", "crop_top", "crop_width", "crop_height", "flip")
_CROP_ATTEMPTS = 10  # torchvision's RandomResizedCrop gives up after as many
_HIGHEST_MAGNITUDE = 30  # torchvision's RandAugment: 31 bins, 0…30


@dataclass(frozen=True, kw_only=True)
class AugmentationPolicy:
    """What may be drawn. The defaults are MobileCLIP's (`training/configs/datacompdr12m.json`)."""

    scale: tuple[float, float] = (0.08, 1.0)
    """Smallest and largest area of the crop, as a fraction of the picture's area."""
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    """Smallest and largest width / height of the crop."""
    flip_probability: float = 0.0
    """Probability of a horizontal flip."""
    num_ops: int = 2
    """RandAugment operations a picture; 0 switches RandAugment off."""
    magnitude: int = 9
    """RandAugment strength of every operation, 0…30."""
    op_probability: float = 1.0
    """Probability that RandAugment is applied at all."""

    def __post_init__(self) -> None:
        if not 0 < self.scale[0] <= self.scale[1] <= 1:
            raise ValueError(f"scale is {self.scale}; give 0 < smallest <= largest <= 1.")
        if not 0 < self.ratio[0] <= self.ratio[1]:
            raise ValueError(f"ratio is {self.ratio}; give 0 < smallest <= largest.")
        for name in ("flip_probability", "op_probability"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is {getattr(self, name)}; give a value in [0, 1].")
        if self.num_ops < 0:
            raise ValueError(f"num_ops is {self.num_ops}; give 0 or more.")
        if not 0 <= self.magnitude <= _HIGHEST_MAGNITUDE:
            raise ValueError(f"magnitude is {self.magnitude}; give 0…{_HIGHEST_MAGNITUDE}.")

    @property
    def columns(self) -> tuple[str, ...]:
        """Name of each recorded number, in order."""
        ops = range(1, self.num_ops + 1)
        return _CROP_COLUMNS + tuple(f"{part}_{i}" for i in ops for part in ("op", "magnitude"))

    def record(self, rng: np.random.Generator, width: int, height: int) -> np.ndarray:
        """Draw one augmentation of a picture of `width` × `height` pixels.

        Returns float32 (P,) in the order of `columns`: the crop box in fractions of the picture,
        flip 0 or 1, then index (`RANDAUGMENT_OPS`) and magnitude of each operation.
        """
        left, top, crop_width, crop_height = self._draw_crop(rng, width, height)
        box = (left / width, top / height, crop_width / width, crop_height / height)
        flip = float(rng.random() < self.flip_probability)
        return np.array([*box, flip, *self._draw_ops(rng)], dtype=np.float32)

    def replay(self, image: Image.Image, params: np.ndarray, size: int) -> Image.Image:
        """Return the augmentation `params` (P,) of the RGB picture `image`, `size` × `size` RGB.

        The same picture, numbers and size give the same pixels; another size gives the same view
        at that resolution. Raises ValueError when `params` has another length than `columns`.
        """
        if len(params) != len(self.columns):
            raise ValueError(
                f"A recorded augmentation of {len(params)} numbers does not fit this policy, "
                f"which records {len(self.columns)}: {', '.join(self.columns)}."
            )
        values = [float(value) for value in params]
        image = _crop_and_resize(image, values[:4], size)
        if values[4]:
            image = F.hflip(image)  # type: ignore[assignment]
        for index, magnitude in zip(values[5::2], values[6::2], strict=True):
            image = RANDAUGMENT_OPS[int(index)].apply(image, magnitude)
        return image

    def to_header(self) -> dict[str, Any]:
        """Return the policy as plain JSON values, with its version and columns."""
        version = {"version": AUGMENTATION_VERSION, "columns": list(self.columns)}
        return version | {
            k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()
        }

    @classmethod
    def from_header(cls, header: Mapping[str, Any]) -> AugmentationPolicy:
        """Rebuild a policy; ValueError for a version that this zoo cannot replay."""
        if header.get("version") != AUGMENTATION_VERSION:
            raise ValueError(
                f"The augmentations are of version {header.get('version')!r}, but this zoo replays "
                f"version {AUGMENTATION_VERSION!r}; reinforce the shard again."
            )
        fields = {k: v for k, v in header.items() if k not in ("version", "columns")}
        fields |= {"scale": tuple(fields["scale"]), "ratio": tuple(fields["ratio"])}
        return cls(**fields)

    def _draw_crop(
        self, rng: np.random.Generator, width: int, height: int
    ) -> tuple[int, int, int, int]:
        """Left, top, width and height in pixels: area uniform, aspect ratio log-uniform."""
        for _ in range(_CROP_ATTEMPTS):
            area = width * height * rng.uniform(*self.scale)
            ratio = math.exp(rng.uniform(math.log(self.ratio[0]), math.log(self.ratio[1])))
            crop_width, crop_height = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
            if 0 < crop_width <= width and 0 < crop_height <= height:
                left = int(rng.integers(width - crop_width + 1))
                top = int(rng.integers(height - crop_height + 1))
                return left, top, crop_width, crop_height
        return self._central_crop(width, height)

    def _central_crop(self, width: int, height: int) -> tuple[int, int, int, int]:
        """The largest centred box whose aspect ratio is allowed."""
        ratio = min(max(width / height, self.ratio[0]), self.ratio[1])
        crop_width = max(1, min(width, round(height * ratio)))
        crop_height = max(1, min(height, round(width / ratio)))
        return (width - crop_width) // 2, (height - crop_height) // 2, crop_width, crop_height

    def _draw_ops(self, rng: np.random.Generator) -> list[float]:
        if rng.random() >= self.op_probability:
            return [0.0, 0.0] * self.num_ops  # Identity
        drawn: list[float] = []
        for _ in range(self.num_ops):
            index = int(rng.integers(len(RANDAUGMENT_OPS)))
            op = RANDAUGMENT_OPS[index]
            sign = -1 if op.signed and rng.random() < 0.5 else 1
            drawn += [float(index), sign * op.strength(self.magnitude / _HIGHEST_MAGNITUDE)]
        return drawn


def _crop_and_resize(image: Image.Image, box: list[float], size: int) -> Image.Image:
    width, height = image.size
    # Rounding gives back the very pixels that were drawn: float32 is off by less than half of one.
    left, top = round(box[0] * width), round(box[1] * height)
    crop_width, crop_height = max(1, round(box[2] * width)), max(1, round(box[3] * height))
    # On a copy of another size the two roundings may reach one pixel over the edge.
    right, bottom = min(left + crop_width, width), min(top + crop_height, height)
    cropped = image.crop((min(left, right - 1), min(top, bottom - 1), right, bottom))
    return cropped.resize((size, size), Image.Resampling.BICUBIC)
