"""Pictures with a class for every pixel: what every reader yields, and how a label map is read."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from zoo.models.preprocess import DECODING_ERRORS, open_image

IGNORED = 255
"""Class of pixels that enter no figure."""

Labels = NDArray[np.int64]
ClassesOf = Callable[[Image.Image], Labels]


class Labelled(NamedTuple):
    """A picture and its classes."""

    picture: Image.Image
    """RGB."""
    classes: Tensor
    """int64 (H, W), the picture's own size: indices of the benchmark's classes, or IGNORED."""


@dataclass(frozen=True, kw_only=True)
class LabelledPicture:
    """Where a picture and its label map are; nothing is decoded before `read`."""

    name: str
    picture: Path | bytes
    labels: Path | bytes
    classes_of: ClassesOf
    """Classes (H, W) of the opened label map; ValueError for values that are none."""

    def read(self) -> Labelled:
        """Return the picture and its classes.

        Raises ValueError where one cannot be decoded, has a label that is no class, or is not of
        the other's size.
        """
        picture = open_image(self.picture)
        where = (
            f"'{self.labels}'" if isinstance(self.labels, Path) else f"The labels of {self.name}"
        )
        with _opened(self.labels, where) as map:
            try:
                classes = self.classes_of(map)
            except ValueError as error:
                raise ValueError(f"{where} {error}") from error
        if classes.shape != (picture.height, picture.width):
            raise ValueError(
                f"{where} has {classes.shape[1]}x{classes.shape[0]} pixels, its picture "
                f"{picture.width}x{picture.height}; give labels of the picture's size."
            )
        return Labelled(picture, torch.from_numpy(classes))


def value_classes(classes: Mapping[int, int], highest: int) -> ClassesOf:
    """Return the function for maps whose pixel values are labels.

    `classes` gives the class (or IGNORED) of each value; those not in it are an error, and
    `highest` is the largest that one may be.
    """
    table = np.full(highest + 1, -1, dtype=np.int64)
    for value, index in classes.items():
        table[value] = index

    def classes_of(map: Image.Image) -> Labels:
        if map.mode not in ("P", "L"):
            raise ValueError(
                f"is a picture of mode {map.mode}, not a map of one label (8 bits) a pixel."
            )
        values = np.asarray(map)
        found = table[values.clip(max=highest)]
        wrong = (values > highest) | (found < 0)
        if wrong.any():
            raise ValueError(
                f"holds the label {values[wrong].min()}, which is none of the benchmark's; are "
                "these the maps that it names?"
            )
        return found

    return classes_of


def existing(pictures: Sequence[LabelledPicture]) -> list[LabelledPicture]:
    """Return `pictures`; FileNotFoundError where a file is missing, before hours of work."""
    paths = [
        path for one in pictures for path in (one.picture, one.labels) if isinstance(path, Path)
    ]
    missing = [path for path in paths if not path.is_file()]
    if missing:
        raise FileNotFoundError(
            f"{len(missing)} of {len(paths)} files are missing, the first is '{missing[0]}'; "
            "unpack them there."
        )
    return list(pictures)


def _opened(labels: Path | bytes, where: str) -> Image.Image:
    try:
        map = Image.open(io.BytesIO(labels.read_bytes() if isinstance(labels, Path) else labels))
        map.load()
    except DECODING_ERRORS as error:
        raise ValueError(f"{where} cannot be decoded ({error}); write it again.") from error
    return map
