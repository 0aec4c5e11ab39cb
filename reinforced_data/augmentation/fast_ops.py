"""RandAugment's operations on arrays: the pixels of Pillow's, by OpenCV.

Every operation takes and returns uint8 (H, W, 3) RGB and may return its input. All give the very
pixels of `RANDAUGMENT_OPS`, except that Color and Sharpness are one level off where Pillow
truncates a value within 1/4096 of a whole number: in none of the pixels at MobileCLIP's
magnitude 9, at most one in 200 at the other 30, one in 30 at an arbitrary one.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from zoo.reinforced_data.augmentation.randaugment import RANDAUGMENT_OPS, whole_pixels

_LEVELS = np.arange(256)
_FIXED = 65536  # Pillow transforms by 16.16 fixed-point numbers
# Pillow's luma (L): these integers / 65536 are exact in float32, and so is every sum.
_LUMA = np.array([[19595, 38470, 7471]], np.float32) / _FIXED
_SMOOTH = np.array([[1, 1, 1], [1, 5, 1], [1, 1, 1]], np.float32) / 13  # Pillow's SMOOTH
# OpenCV rounds to the nearest where Pillow truncates; the rest keeps whole numbers whole.
_TRUNCATE = -0.5 + 1 / 4096


def _shear_x(pixels: np.ndarray, magnitude: float) -> np.ndarray:
    return _nearest(pixels, (1.0, magnitude, 0.0), (0.0, 1.0, 0.0))


def _shear_y(pixels: np.ndarray, magnitude: float) -> np.ndarray:
    return _nearest(pixels, (1.0, 0.0, 0.0), (magnitude, 1.0, 0.0))


def _rotate(pixels: np.ndarray, degrees: float) -> np.ndarray:
    if degrees % 360 == 0:
        return pixels
    height, width = pixels.shape[:2]
    cosine, sine = (round(f(-math.radians(degrees % 360)), 15) for f in (math.cos, math.sin))
    x, y = width / 2, height / 2
    return _nearest(
        pixels,
        (cosine, sine, x - cosine * x - sine * y),
        (-sine, cosine, y + sine * x - cosine * y),
    )


def _nearest(
    pixels: np.ndarray, to_x: tuple[float, float, float], to_y: tuple[float, float, float]
) -> np.ndarray:
    """Take output pixel (x, y) from (to_x · (x, y, 1), to_y · (x, y, 1)), black outside.

    Pixel centres lie at half pixels; the nearest pixel is found in fixed point, as Pillow does.
    """
    import cv2

    height, width = pixels.shape[:2]
    x, y = np.arange(width, dtype=np.int32), np.arange(height, dtype=np.int32)[:, None]
    source = np.empty((height, width, 2), np.int16)
    for axis, (along_x, along_y, offset) in enumerate((to_x, to_y)):
        start = _to_fixed(offset + along_x * 0.5 + along_y * 0.5)
        source[..., axis] = (x * _to_fixed(along_x) + (y * _to_fixed(along_y) + start)) >> 16
    return cv2.remap(pixels, source, None, cv2.INTER_NEAREST)  # type: ignore[call-overload]


def _to_fixed(value: float) -> int:
    return math.floor(value * _FIXED + 0.5)


def _translate_x(pixels: np.ndarray, fraction: float) -> np.ndarray:
    width = pixels.shape[1]
    shift = max(-width, min(width, whole_pixels(fraction, width)))
    moved = np.zeros_like(pixels)
    moved[:, max(shift, 0) : width + shift] = pixels[:, max(-shift, 0) : width - shift]
    return moved


def _translate_y(pixels: np.ndarray, fraction: float) -> np.ndarray:
    height = len(pixels)
    shift = max(-height, min(height, whole_pixels(fraction, height)))
    moved = np.zeros_like(pixels)
    moved[max(shift, 0) : height + shift] = pixels[max(-shift, 0) : height - shift]
    return moved


def _brightness(pixels: np.ndarray, magnitude: float) -> np.ndarray:
    return _look_up(pixels, _blend_levels(0, magnitude))


def _contrast(pixels: np.ndarray, magnitude: float) -> np.ndarray:
    mean = int(_luma(pixels).mean(dtype=np.float64) + 0.5)
    return _look_up(pixels, _blend_levels(mean, magnitude))


def _color(pixels: np.ndarray, magnitude: float) -> np.ndarray:
    import cv2

    return _blend(cv2.cvtColor(_luma(pixels), cv2.COLOR_GRAY2RGB), pixels, magnitude)


def _sharpness(pixels: np.ndarray, magnitude: float) -> np.ndarray:
    import cv2

    smooth = cv2.filter2D(pixels, -1, _SMOOTH)
    for edge in (np.s_[0], np.s_[-1], np.s_[:, 0], np.s_[:, -1]):
        smooth[edge] = pixels[edge]  # Pillow filters no edge
    return _blend(smooth, pixels, magnitude)


def _posterize(pixels: np.ndarray, bits: float) -> np.ndarray:
    return _look_up(pixels, _LEVELS & -(2 ** (8 - int(bits))))


def _solarize(pixels: np.ndarray, threshold: float) -> np.ndarray:
    return _look_up(pixels, np.where(threshold > _LEVELS, _LEVELS, 255 - _LEVELS))


def _auto_contrast(pixels: np.ndarray, _: float) -> np.ndarray:
    return _look_up(pixels, np.stack([_stretched(h) for h in _histograms(pixels)], axis=-1))


def _equalize(pixels: np.ndarray, _: float) -> np.ndarray:
    return _look_up(pixels, np.stack([_equalized(h) for h in _histograms(pixels)], axis=-1))


def _stretched(histogram: np.ndarray) -> np.ndarray:
    """Levels so that the lowest one used becomes 0 and the highest 255."""
    used = np.flatnonzero(histogram)
    lowest, highest = int(used[0]), int(used[-1])
    if lowest == highest:
        return _LEVELS
    scale = 255.0 / (highest - lowest)
    return (_LEVELS * scale + -lowest * scale).clip(0, 255)


def _equalized(histogram: np.ndarray) -> np.ndarray:
    """Levels so that every one is used about as often; the last used level counts for nothing."""
    used = histogram[histogram > 0]
    step = int(histogram.sum() - used[-1]) // 255
    if step == 0:
        return _LEVELS
    below = np.cumsum(histogram) - histogram
    return ((step // 2 + below) // step).clip(0, 255)


def _histograms(pixels: np.ndarray) -> list[np.ndarray]:
    """How often each level occurs, by channel: int64 (256,) each."""
    import cv2

    counts = (cv2.calcHist([pixels], [c], None, [256], [0, 256]) for c in range(3))
    return [count.ravel().astype(np.int64) for count in counts]


def _luma(pixels: np.ndarray) -> np.ndarray:
    """Grey of each pixel: uint8 (H, W)."""
    import cv2

    return cv2.transform(pixels, _LUMA)


def _look_up(pixels: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """Replace each level by `levels` (256,), or (256, 3) by channel, truncated."""
    import cv2

    return cv2.LUT(pixels, levels.astype(np.uint8).reshape(256, 1, -1))


def _blend_levels(grey: int, magnitude: float) -> np.ndarray:
    """Levels moved away from `grey` (magnitude > 0) or towards it: float32 (256,)."""
    factor = np.float32(1 + magnitude)
    return (grey + factor * (_LEVELS - grey).astype(np.float32)).clip(0, 255)


def _blend(degenerate: np.ndarray, pixels: np.ndarray, magnitude: float) -> np.ndarray:
    """Move `pixels` away from `degenerate` (magnitude > 0) or towards it."""
    import cv2

    return cv2.addWeighted(pixels, 1 + magnitude, degenerate, -magnitude, _TRUNCATE)


_BY_NAME: dict[str, Callable[[np.ndarray, float], np.ndarray]] = {
    "Identity": lambda pixels, _: pixels,
    "ShearX": _shear_x,
    "ShearY": _shear_y,
    "TranslateX": _translate_x,
    "TranslateY": _translate_y,
    "Rotate": _rotate,
    "Brightness": _brightness,
    "Color": _color,
    "Contrast": _contrast,
    "Sharpness": _sharpness,
    "Posterize": _posterize,
    "Solarize": _solarize,
    "AutoContrast": _auto_contrast,
    "Equalize": _equalize,
}
FAST_OPS = tuple(_BY_NAME[op.name] for op in RANDAUGMENT_OPS)
"""By index, as `RANDAUGMENT_OPS`: (pixels, magnitude) -> pixels."""
