"""The instance masks of a sample: a picture of numbers, or annotations as SA-1B and COCO have them.

    KEY.mask.png    numbers of instances, 0 where there is none; 8 or 16 bit
    KEY.json        {"annotations": [{"segmentation": RLE or polygons, …}, …]}

Annotations of crowds (COCO's `iscrowd`) are left out: they are regions, not objects.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from zoo.models.preprocess import DECODING_ERRORS

LABEL_MAP = "mask.png"
ANNOTATIONS = "json"

_LEAST_COORDINATES = 6
"""Of a polygon: x and y of three corners."""
_WRONG_LENGTHS = "has a segmentation whose run lengths do not fill its picture."


class Instances:
    """The instances of one picture; a mask is decoded when it is asked for."""

    def __init__(self, masks: Sequence[Any], width: int, height: int) -> None:
        """`masks`: bool arrays (height, width), or what pycocotools makes masks of."""
        self._masks = masks
        self._width, self._height = width, height

    def __len__(self) -> int:
        return len(self._masks)

    def mask(self, i: int) -> np.ndarray:
        """Return the mask of instance `i`: bool (height, width); it may be empty.

        Raises ValueError, a sentence without a subject, for one that is not the picture's.
        """
        stored = self._masks[i]
        if not isinstance(stored, np.ndarray):
            return _decode(stored, self._width, self._height)
        _check_size(stored.shape, self._width, self._height)
        return stored


def read_instances(members: Mapping[str, bytes], width: int, height: int) -> Instances:
    """Return the instances in the members of a sample, by suffix; none where it has none.

    `width` and `height` are those of the picture. `mask.png` goes before `json`. Raises ValueError,
    a sentence without a subject, for a damaged member.
    """
    if LABEL_MAP in members:
        return Instances(_split(_label_map(members[LABEL_MAP])), width, height)
    if ANNOTATIONS in members:
        return Instances(_segmentations(members[ANNOTATIONS]), width, height)
    return Instances([], width, height)


def _label_map(data: bytes) -> np.ndarray:
    try:
        numbers = np.asarray(Image.open(io.BytesIO(data)))
    except DECODING_ERRORS as error:
        raise ValueError(f"has a .{LABEL_MAP} that cannot be read ({error}).") from error
    if numbers.ndim != 2:
        raise ValueError(f"has a .{LABEL_MAP} in colour; expected one number a pixel.")
    return numbers


def _split(numbers: np.ndarray) -> list[np.ndarray]:
    return [numbers == number for number in np.unique(numbers) if number]


def _segmentations(data: bytes) -> list[Any]:
    try:
        content = json.loads(data)
    except ValueError as error:
        raise ValueError(f"has a .{ANNOTATIONS} that is not JSON ({error}).") from error
    annotations = content.get("annotations") if isinstance(content, dict) else content
    if not isinstance(annotations, list):
        return []  # metadata of another kind, as img2dataset writes them
    found = [one for one in annotations if isinstance(one, dict) and not one.get("iscrowd")]
    return [one["segmentation"] for one in found if one.get("segmentation")]


def _decode(segmentation: Any, width: int, height: int) -> np.ndarray:
    """Polygons or run lengths as a mask: bool (height, width)."""
    tools = _import_mask_tools()
    if isinstance(segmentation, list) and all(map(_is_polygon, segmentation)):
        lengths = tools.merge(tools.frPyObjects(segmentation, height, width))
    elif isinstance(segmentation, dict) and _are_run_lengths(segmentation):
        _check_size(segmentation["size"], width, height)
        counts = segmentation["counts"]
        if isinstance(counts, list) and sum(counts) != width * height:
            raise ValueError(_WRONG_LENGTHS)  # pycocotools would leave the rest to chance
        is_packed = isinstance(counts, str)
        lengths = segmentation if is_packed else tools.frPyObjects(segmentation, height, width)
    else:
        raise ValueError("has a segmentation that is neither polygons nor run lengths as COCO's.")
    try:
        return tools.decode(lengths).astype(bool)
    except ValueError as error:
        raise ValueError(_WRONG_LENGTHS) from error


def _is_polygon(points: Any) -> bool:
    return (
        isinstance(points, list)
        and len(points) >= _LEAST_COORDINATES
        and len(points) % 2 == 0
        and all(isinstance(one, int | float) for one in points)
    )


def _are_run_lengths(content: dict[str, Any]) -> bool:
    counts, size = content.get("counts"), content.get("size")
    of_numbers = isinstance(counts, list) and all(isinstance(one, int) for one in counts)
    return isinstance(size, list) and len(size) == 2 and (of_numbers or isinstance(counts, str))


def _check_size(size: Sequence[int], width: int, height: int) -> None:
    """`size`: height and width."""
    if tuple(size) != (height, width):
        raise ValueError(
            f"has a mask of {size[1]}x{size[0]} pixels for a picture of {width}x{height}; expected "
            "the same size."
        )


def _import_mask_tools() -> Any:
    try:
        import pycocotools.mask
    except ImportError as error:
        raise ValueError("holds annotations as COCO's, which need zoo[seg]; install it.") from error
    return pycocotools.mask
