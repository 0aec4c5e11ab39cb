"""Recorded augmentation: drawn once as numbers without a resolution, replayed at any size.

Random resized crop, horizontal flip, RandAugment and random erasing are those of MobileCLIP's
data and of the method it builds on (ml-mobileclip `training/dr/transforms.py`, ml-dr
`dr/transforms.py`: torchvision's defaults, in this order), except that translations and the
erased box are fractions of the view: the originals store pixels at 224, which move and hide too
little at a larger size.

MixUp and CutMix, which ml-dr draws for ImageNet, are left out: they mix two pictures and their
labels, so that the record of one sample could not be replayed from its shard alone, and a
caption has no label to mix.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from PIL import Image
from torchvision.transforms import functional as F

from zoo.reinforced_data.augmentation.boxes import (
    crop_pixels,
    draw_crop,
    draw_erased,
    erased_pixels,
)
from zoo.reinforced_data.augmentation.randaugment import RANDAUGMENT_OPS

AUGMENTATION_VERSION = "1"
"""Meaning of the recorded numbers; raised when the same numbers would replay to other pixels."""

_CROP_COLUMNS = ("crop_left", "crop_top", "crop_width", "crop_height", "flip")
_ERASE_COLUMNS = ("erase_left", "erase_top", "erase_width", "erase_height")
_HIGHEST_MAGNITUDE = 30  # torchvision's RandAugment: 31 bins, 0…30


@dataclass(frozen=True)
class RecordedView:
    """One record, by meaning instead of by column."""

    crop: tuple[float, ...]
    """Left, top, width and height in fractions of the picture."""
    flipped: bool
    ops: tuple[tuple[int, float], ...]
    """Index (`RANDAUGMENT_OPS`) and magnitude of each operation, in order."""
    erased: tuple[float, ...]
    """Left, top, width and height in fractions of the view; all zero where nothing is erased."""


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
    erase_probability: float = 0.0
    """Probability that a box of the view is blackened at the end (random erasing)."""

    def __post_init__(self) -> None:
        if not 0 < self.scale[0] <= self.scale[1] <= 1:
            raise ValueError(f"scale is {self.scale}; give 0 < smallest <= largest <= 1.")
        if not 0 < self.ratio[0] <= self.ratio[1]:
            raise ValueError(f"ratio is {self.ratio}; give 0 < smallest <= largest.")
        for name in ("flip_probability", "op_probability", "erase_probability"):
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
        op_columns = tuple(f"{part}_{i}" for i in ops for part in ("op", "magnitude"))
        return _CROP_COLUMNS + op_columns + (_ERASE_COLUMNS if self.erase_probability else ())

    def record(self, rng: np.random.Generator, width: int, height: int) -> np.ndarray:
        """Draw one augmentation of a picture of `width` × `height` pixels.

        Returns float32 (P,) in the order of `columns`: the crop box in fractions of the picture,
        flip 0 or 1, index (`RANDAUGMENT_OPS`) and magnitude of each operation, and, where the
        policy erases, the erased box in fractions of the view.
        """
        box = draw_crop(rng, width, height, self.scale, self.ratio)
        flip = float(rng.random() < self.flip_probability)
        ops = self._draw_ops(rng)
        return np.array([*box, flip, *ops, *self._draw_erased(rng)], dtype=np.float32)

    def view(self, params: np.ndarray) -> RecordedView:
        """Return the record `params` (P,) by meaning; ValueError for another length."""
        if len(params) != len(self.columns):
            raise ValueError(
                f"A recorded augmentation of {len(params)} numbers does not fit this policy, "
                f"which records {len(self.columns)}: {', '.join(self.columns)}."
            )
        values = params.tolist()
        end = len(_CROP_COLUMNS) + 2 * self.num_ops
        ops = zip(map(int, values[5:end:2]), values[6:end:2], strict=True)
        return RecordedView(
            crop=tuple(values[:4]),
            flipped=bool(values[4]),
            ops=tuple(ops),
            erased=tuple(values[end:]) or (0.0,) * 4,
        )

    def replay(self, image: Image.Image, params: np.ndarray, size: int) -> Image.Image:
        """Return the augmentation `params` (P,) of the RGB picture `image`, `size` × `size` RGB.

        The same picture, numbers and size give the same pixels; another size gives the same view
        at that resolution. Raises ValueError when `params` has another length than `columns`.
        """
        view = self.view(params)
        image = image.crop(crop_pixels(view.crop, *image.size))
        image = image.resize((size, size), Image.Resampling.BICUBIC)
        if view.flipped:
            image = F.hflip(image)  # type: ignore[assignment]
        for index, magnitude in view.ops:
            image = RANDAUGMENT_OPS[index].apply(image, magnitude)
        image.paste((0, 0, 0), erased_pixels(view.erased, size))
        return image

    def to_header(self) -> dict[str, Any]:
        """Return the policy as plain JSON values, with its version and columns."""
        header = {"version": AUGMENTATION_VERSION, "columns": list(self.columns)}
        header |= {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}
        if not self.erase_probability:
            # The header, like the columns, speaks of erasing only where it is on.
            del header["erase_probability"]
        return header

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

    def _draw_erased(self, rng: np.random.Generator) -> tuple[float, ...]:
        if not self.erase_probability:
            return ()
        if rng.random() >= self.erase_probability:
            return (0.0,) * len(_ERASE_COLUMNS)
        return draw_erased(rng)
