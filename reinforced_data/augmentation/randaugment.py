"""The operations of RandAugment: torchvision's, by index, with its strengths."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as F


@dataclass(frozen=True)
class RandAugmentOp:
    """One operation: `strength` turns a level in [0, 1] into the magnitude given to `apply`."""

    name: str
    apply: Callable[[Any, float], Any]
    strength: Callable[[float], float]
    signed: bool = False


def _affine(image: Any, *, translate: tuple[int, int] = (0, 0), **kwargs: Any) -> Any:
    shear = kwargs.pop("shear", (0.0, 0.0))
    return F.affine(
        image,
        angle=0.0,
        translate=list(translate),
        scale=1.0,
        shear=list(shear),
        interpolation=InterpolationMode.NEAREST,
        **kwargs,
    )


def _shear_degrees(magnitude: float) -> float:
    return math.degrees(math.atan(magnitude))


def whole_pixels(fraction: float, size: int) -> int:
    """Return how many pixels a shift by `fraction` of `size` pixels is, towards zero."""
    # torchvision truncates; rounding first keeps float32 from tipping an exact count under.
    return int(round(fraction * size, 3))


def _constant(value: float) -> Callable[[float], float]:
    return lambda level: value


def _up_to(highest: float) -> Callable[[float], float]:
    return lambda level: highest * level


# Order and strengths: torchvision's RandAugment; index = position, as in Apple's `paug.json`.
RANDAUGMENT_OPS = (
    RandAugmentOp("Identity", lambda image, _: image, _constant(0)),
    RandAugmentOp(
        "ShearX",
        lambda image, m: _affine(image, shear=(_shear_degrees(m), 0.0), center=[0, 0]),
        _up_to(0.3),
        signed=True,
    ),
    RandAugmentOp(
        "ShearY",
        lambda image, m: _affine(image, shear=(0.0, _shear_degrees(m)), center=[0, 0]),
        _up_to(0.3),
        signed=True,
    ),
    RandAugmentOp(
        "TranslateX",
        lambda image, m: _affine(image, translate=(whole_pixels(m, image.width), 0)),
        _up_to(150 / 331),
        signed=True,
    ),
    RandAugmentOp(
        "TranslateY",
        lambda image, m: _affine(image, translate=(0, whole_pixels(m, image.height))),
        _up_to(150 / 331),
        signed=True,
    ),
    RandAugmentOp("Rotate", lambda image, m: F.rotate(image, m), _up_to(30), signed=True),
    RandAugmentOp(
        "Brightness", lambda image, m: F.adjust_brightness(image, 1 + m), _up_to(0.9), signed=True
    ),
    RandAugmentOp(
        "Color", lambda image, m: F.adjust_saturation(image, 1 + m), _up_to(0.9), signed=True
    ),
    RandAugmentOp(
        "Contrast", lambda image, m: F.adjust_contrast(image, 1 + m), _up_to(0.9), signed=True
    ),
    RandAugmentOp(
        "Sharpness", lambda image, m: F.adjust_sharpness(image, 1 + m), _up_to(0.9), signed=True
    ),
    RandAugmentOp(
        "Posterize", lambda image, m: F.posterize(image, int(m)), lambda level: 8 - round(4 * level)
    ),
    RandAugmentOp(
        "Solarize", lambda image, m: F.solarize(image, m), lambda level: 255 * (1 - level)
    ),
    RandAugmentOp("AutoContrast", lambda image, _: F.autocontrast(image), _constant(0)),
    RandAugmentOp("Equalize", lambda image, _: F.equalize(image), _constant(0)),
)
