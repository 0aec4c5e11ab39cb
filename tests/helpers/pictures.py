"""Photo-like pictures of any size, made of numbers.

Used by .venv/bin/pytest tests/reinforced_data/augmentation
"""

import io
from typing import Any

import numpy as np
from PIL import Image


def picture(width: int = 301, height: int = 223, seed: int = 0) -> Image.Image:
    """Smooth colours with noise, so that a crop or a colour shift changes pixels everywhere."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (9, 12, 3), dtype=np.uint8))
    smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC)).astype(int)
    return Image.fromarray((smooth + rng.integers(-20, 21, smooth.shape)).clip(0, 255).astype("u1"))


def photo(width: int = 500, height: int = 375, seed: int = 0) -> Image.Image:
    """Detail at every scale, its amplitude inverse to frequency, as photographs have."""
    rng = np.random.default_rng(seed)
    layers = np.zeros((height, width, 3))
    for octave in range(7):
        cells = rng.normal(0, 64 / 2**octave, (3 * 2**octave, 4 * 2**octave, 3))
        levels = Image.fromarray((cells + 128).clip(0, 255).astype("u1"))
        layers += np.asarray(levels.resize((width, height), Image.Resampling.BICUBIC), float) - 128
    return Image.fromarray((layers + 128).clip(0, 255).astype("u1"))


def encoded(image: Image.Image, format: str = "JPEG", **options: Any) -> bytes:
    content = io.BytesIO()
    image.save(content, format, **options)
    return content.getvalue()
