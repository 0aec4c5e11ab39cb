"""From a picture in any form to the tensor that an image tower expects."""

from __future__ import annotations

import io
import math
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor
from torch.nn import functional as F

Interpolation = Literal["bilinear", "bicubic"]
Aspect = Literal["crop", "pad"]
ImageSource = str | Path | bytes | Image.Image | Tensor

ZERO_MEAN = (0.0, 0.0, 0.0)
UNIT_STD = (1.0, 1.0, 1.0)
OPENAI_MEAN = (0.48145466, 0.4578275, 0.40821073)
OPENAI_STD = (0.26862954, 0.26130258, 0.27577711)
"""Mean and standard deviation of OpenAI's CLIP, for values in [0, 1] (open_clip/constants.py)."""

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
"""Mean and standard deviation of ImageNet, for values in [0, 1]; SAM's too (`sam.py`)."""

DECODING_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    IndexError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)
"""What Pillow's decoders raise on damaged files."""

RESAMPLING = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
}
"""Pillow's name of an interpolation."""

_REACH = 5
"""Pixels beyond which padding stays padding: a bicubic filter reads two to either side."""
_LONG = 16
"""Aspect ratio from which on the longer side is resized before the shorter is padded."""


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """Make the picture a square, scale to [0, 1], normalise.

    "crop" resizes the shorter side and crops the centre: the pixels equal those of torchvision's
    `Resize(size)`, `CenterCrop(size)`, `ToTensor()`, `Normalize(mean, std)` on an RGB picture,
    which the originals use (`mobileclip/__init__.py`, open_clip `transform.py`). They are those of
    transformers' `CLIPImageProcessor`, too, which crops one pixel further left or up where three,
    seven, eleven, … are to be cut. "pad" keeps the whole picture: it fills up the shorter side
    with the mean colour, half on either side, and resizes the square (`mm_utils.py` of FastVLM).
    """

    image_size: int
    mean: tuple[float, float, float] = ZERO_MEAN
    std: tuple[float, float, float] = UNIT_STD
    interpolation: Interpolation = "bilinear"
    aspect: Aspect = "crop"
    """How a picture that is no square becomes one."""

    def __post_init__(self) -> None:
        if self.interpolation not in RESAMPLING:
            raise ValueError(
                f"The interpolation is '{self.interpolation}'; give {' or '.join(RESAMPLING)}."
            )
        if self.aspect not in get_args(Aspect):
            raise ValueError(
                f"The aspect is '{self.aspect}'; give {' or '.join(get_args(Aspect))}."
            )

    def __call__(self, source: ImageSource) -> Tensor:
        """Return `source` as float32 (3, image_size, image_size).

        `source` is a path, the bytes of an image file, a PIL image of any mode, or a tensor
        (3, H, W): uint8 in 0…255 or floating point in [0, 1].

        Raises ValueError for what is not a picture and FileNotFoundError for a missing file.
        """
        if isinstance(source, Tensor):
            return self.normalize(self._tensor_to_square(check_image_tensor(source)))
        image = self.to_square(open_image(source))
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)  # (H, W, 3) -> (3, H, W)
        return self.normalize(pixels)

    def normalize(self, image: Tensor) -> Tensor:
        """Return `image` (…, 3, H, W), uint8 in 0…255 or floating point in [0, 1], normalised."""
        if image.dtype == torch.uint8:
            image = image.float().div(255)
        if (self.mean, self.std) == (ZERO_MEAN, UNIT_STD):
            return image
        mean = torch.tensor(self.mean, dtype=image.dtype, device=image.device).view(3, 1, 1)
        std = torch.tensor(self.std, dtype=image.dtype, device=image.device).view(3, 1, 1)
        return (image - mean) / std

    def to_square(self, image: Image.Image) -> Image.Image:
        """Return the RGB picture `image` as image_size x image_size, cropped or padded.

        Memory goes with the picture and the result, not with the padded square or the resized
        strip between them. Up to an aspect ratio of 3:1 where padded, 16:1 where cropped, the
        pixels are those of the plain way; beyond, a padded picture's may differ by one level of
        255, a cropped one's as far as Pillow rounds between the two axes.
        """
        return self._padded(image) if self.aspect == "pad" else self._cropped(image)

    def _cropped(self, image: Image.Image) -> Image.Image:
        width, height = self._resized(image.width, image.height)
        x, y = self._middle(image.width, width), self._middle(image.height, height)
        resized = _resize(image, x, y, RESAMPLING[self.interpolation])
        left, top = self._crop_offset(width) - x.first, self._crop_offset(height) - y.first
        return resized.crop((left, top, left + self.image_size, top + self.image_size))

    def _padded(self, image: Image.Image) -> Image.Image:
        size, resampling = self.image_size, RESAMPLING[self.interpolation]
        colour = tuple(int(255 * value) for value in self.mean)
        width = height = side = max(image.size)
        if side > max(size, _LONG * min(image.size)):
            width, height = (size, side) if image.width == side else (side, size)
            image = image.resize((min(image.width, width), min(image.height, height)), resampling)
        x, y = self._reached(image.width, width), self._reached(image.height, height)
        left, top = math.floor(x.start), math.floor(y.start)
        canvas = Image.new("RGB", (math.ceil(x.end) - left, math.ceil(y.end) - top), colour)
        canvas.paste(image, ((width - image.width) // 2 - left, (height - image.height) // 2 - top))
        square = Image.new("RGB", (size, size), colour)
        part = _resize(canvas, x.seen_from(left), y.seen_from(top), resampling)
        square.paste(part, (x.first, y.first))
        return square

    def _tensor_to_square(self, image: Tensor) -> Tensor:
        if self.aspect == "pad":
            return self._padded_tensor(image).clamp(0, 1)
        width, height = self._resized(image.shape[2], image.shape[1])
        image = self._interpolated(image, height, width).clamp(0, 1)
        left, top = self._crop_offset(width), self._crop_offset(height)
        return image[:, top : top + self.image_size, left : left + self.image_size]

    def _padded_tensor(self, image: Tensor) -> Tensor:
        """The longer side is resized before the shorter is padded: the axes are independent."""
        size, (height, width) = self.image_size, image.shape[1:]
        side = max(height, width)
        image = self._interpolated(image, *((height, size) if width == side else (size, width)))
        square = torch.tensor(self.mean, dtype=image.dtype, device=image.device).view(3, 1, 1)
        square = square.repeat(1, *((side, size) if width == side else (size, side)))
        top, left = (square.shape[1] - image.shape[1]) // 2, (square.shape[2] - image.shape[2]) // 2
        square[:, top : top + image.shape[1], left : left + image.shape[2]] = image
        return self._interpolated(square, size, size)

    def _interpolated(self, image: Tensor, height: int, width: int) -> Tensor:
        if (height, width) == image.shape[1:]:
            return image
        return F.interpolate(
            image[None],
            size=(height, width),
            mode=self.interpolation,
            align_corners=False,
            antialias=True,
        )[0]

    def _resized(self, width: int, height: int) -> tuple[int, int]:
        """The shorter side becomes image_size, the longer is truncated, as torchvision does."""
        if width <= height:
            return self.image_size, int(self.image_size * height / width)
        return int(self.image_size * width / height), self.image_size

    def _crop_offset(self, length: int) -> int:
        return round((length - self.image_size) / 2)

    def _middle(self, length: int, resized: int) -> _Span:
        """What of an axis resized from `length` is worth computing for its crop."""
        left = self._crop_offset(resized)
        margin = _LONG // 2 * self.image_size
        first, last = max(0, left - margin), min(resized, left + self.image_size + margin)
        return _Span(first, last, first * length / resized, last * length / resized)

    def _reached(self, length: int, side: int) -> _Span:
        """What of an axis padded from `length` to `side` and resized is not all padding."""
        size, offset = self.image_size, (side - length) // 2
        margin = max(length, _REACH * max(side / size, 1))
        first = max(0, math.floor((offset - margin) * size / side))
        last = min(size, math.ceil((offset + length + margin) * size / side))
        return _Span(first, last, first * side / size, last * side / size)


class _Span(NamedTuple):
    """Pixels of one axis of a resized picture and the part of the source they show."""

    first: int
    last: int
    """Not included."""
    start: float
    """Place in the source, in pixels."""
    end: float

    def seen_from(self, origin: int) -> _Span:
        """The span in a source that begins at `origin`."""
        return self._replace(start=self.start - origin, end=self.end - origin)


def _resize(image: Image.Image, x: _Span, y: _Span, resampling: Image.Resampling) -> Image.Image:
    size = x.last - x.first, y.last - y.first
    return image.resize(size, resampling, box=(x.start, y.start, x.end, y.end))


def open_image(source: str | Path | bytes | Image.Image) -> Image.Image:
    """Return a path, encoded bytes or a PIL image of any mode as an upright RGB picture.

    The EXIF orientation is applied; transparency is dropped, not blended, as `convert("RGB")`
    does; 16-bit grey keeps its upper byte.

    Raises FileNotFoundError for a missing file and ValueError for a file that is not an image.
    """
    if isinstance(source, Image.Image):
        return _to_rgb(source, "the picture")
    name = "the image bytes" if isinstance(source, bytes) else f"'{source}'"
    data = source if isinstance(source, bytes) else _read_image_file(Path(source))
    if not data:
        raise ValueError(f"{name} holds zero bytes, not an image; replace or remove it.")
    try:
        image = Image.open(io.BytesIO(data))
    except UnidentifiedImageError as error:
        raise ValueError(
            f"{name} is not an image that can be read; give a JPEG, PNG, WebP or another "
            "format that Pillow knows."
        ) from error
    except DECODING_ERRORS as error:
        raise _damaged(name, error) from error
    return _to_rgb(image, name)


def _read_image_file(path: Path) -> bytes:
    if path.is_dir():
        raise ValueError(f"'{path}' is a folder, not an image; name a file inside it.")
    if not path.exists():
        raise FileNotFoundError(f"No image at '{path}'; check the path.")
    return path.read_bytes()


def _to_rgb(image: Image.Image, name: str) -> Image.Image:
    # Decoding is lazy: a truncated file shows only here.
    try:
        image = ImageOps.exif_transpose(image)
        if image.mode in ("I", "I;16", "I;16B", "I;16L", "I;16N"):
            image = _sixteen_bit_to_grey(image)
        elif image.mode == "P" and "transparency" in image.info:
            image = image.convert("RGBA")
        return image.convert("RGB")
    except DECODING_ERRORS as error:
        raise _damaged(name, error) from error


def _damaged(name: str, error: Exception) -> ValueError:
    return ValueError(
        f"{name} cannot be decoded ({error}); it is damaged, incomplete or too large: "
        "replace or remove it."
    )


def _sixteen_bit_to_grey(image: Image.Image) -> Image.Image:
    # Pillow's own conversion clips everything above 255 to white.
    values = np.asarray(image).astype(np.int64)
    return Image.fromarray((values >> 8).clip(0, 255).astype(np.uint8))


def check_image_tensor(image: Tensor) -> Tensor:
    """Return a picture (3, H, W), uint8 in 0…255 or floating point in [0, 1], as float32 in [0, 1].

    Raises ValueError for another shape or dtype.
    """
    if image.ndim != 3 or image.shape[0] != 3:
        raise ValueError(
            f"An image tensor has shape (3, H, W), but this one has {tuple(image.shape)}; "
            "pass pictures one at a time with the colour axis first."
        )
    if image.dtype == torch.uint8:
        return image.float().div(255)
    if not image.is_floating_point():
        raise ValueError(
            f"An image tensor is uint8 (0…255) or floating point (0…1), not {image.dtype}."
        )
    return image.float()
