"""COCO's files of instances, and a detector's boxes in COCO's form of results.

Source: cocodataset.org, data and results format. Pixels count from the picture's upper left corner;
a `bbox` is x, y, width and height.
"""

from __future__ import annotations

import contextlib
import io
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

Entry = dict[str, Any]

_NEEDED = {
    "images": ("id", "file_name", "height", "width"),
    "annotations": ("id", "image_id", "category_id", "bbox", "segmentation", "area"),
    "categories": ("id", "name"),
}
_DETECTION = ("image_id", "category_id", "bbox", "score")


class Boxes(NamedTuple):
    """Boxes of one picture."""

    corners: Tensor
    """float32 (N, 4): left, upper, right and lower edge in pixels, inside of the picture."""
    entries: tuple[Entry, ...]
    """N entries of the file that the boxes stand in."""


@dataclass(frozen=True, kw_only=True)
class Instances:
    """What a file of COCO's instances says, checked."""

    path: Path
    content: dict[str, Any]

    @property
    def images(self) -> list[Entry]:
        """The pictures, in the file's order."""
        return self.content["images"]

    @property
    def objects(self) -> list[Entry]:
        """The annotations that stand for one object; crowds are left out."""
        return [entry for entry in self.content["annotations"] if not entry.get("iscrowd", 0)]

    def index(self) -> Any:
        """Return pycocotools' `COCO` of the file. Raises ValueError where it is not installed."""
        coco = import_pycocotools("coco").COCO()
        coco.dataset = {"info": {}, **self.content}
        with silence():
            coco.createIndex()
        return coco


def read_instances(path: str | Path) -> Instances:
    """Return what COCO's file of instances says.

    Raises FileNotFoundError where there is none and ValueError for a file of another form, LVIS's
    among them.
    """
    path = Path(path)
    content = _read_json(path)
    if not isinstance(content, dict):
        raise ValueError(f"'{path}' holds a list; give COCO's annotations, an object with images.")
    for part, keys in _NEEDED.items():
        if not isinstance(content.get(part), list) or not content[part]:
            raise ValueError(f"'{path}' has no list '{part}'; give COCO's instances_….json.")
        _refuse_lvis(path, content["images"][0])
        _check_entries(path, part, content[part], keys)
    _check_ids(path, "annotations", content["annotations"], content)
    return Instances(path=path, content=content)


def read_boxes(path: str | Path, instances: Instances) -> list[Entry]:
    """Return a detector's boxes: `[{"image_id", "category_id", "bbox", "score"}, …]`.

    Raises FileNotFoundError where there is no file and ValueError for one of another form, or for
    boxes of pictures and categories that `instances` does not have.
    """
    path = Path(path)
    content = _read_json(path)
    if not isinstance(content, list) or not content:
        raise ValueError(
            f"'{path}' is no list of boxes; give a detector's results in COCO's form: "
            '[{"image_id", "category_id", "bbox", "score"}, …].'
        )
    _check_entries(path, "boxes", content, _DETECTION)
    _check_ids(path, "boxes", content, instances.content)
    return content


def boxes_by_image(entries: Iterable[Entry], images: Sequence[Entry]) -> dict[int, Boxes]:
    """Return the boxes of every picture that has some, cut at the picture's edges.

    Boxes without a pixel inside of the picture are left out.
    """
    sizes = {image["id"]: (image["width"], image["height"]) for image in images}
    kept: dict[int, list[tuple[list[float], Entry]]] = defaultdict(list)
    for entry in entries:
        size = sizes.get(entry["image_id"])
        corners = None if size is None else _corners(entry["bbox"], *size)
        if corners is not None:
            kept[entry["image_id"]].append((corners, entry))
    return {
        image: Boxes(
            torch.tensor([corners for corners, _ in boxes]), tuple(entry for _, entry in boxes)
        )
        for image, boxes in kept.items()
    }


def import_pycocotools(module: str) -> Any:
    """Return `pycocotools.MODULE`. Raises ValueError, naming the extra, where it is missing."""
    import importlib

    try:
        return importlib.import_module(f"pycocotools.{module}")
    except ImportError as error:
        raise ValueError(
            "Masks of instances are scored by pycocotools: pip install 'zoo[seg]'."
        ) from error


def silence() -> contextlib.redirect_stdout[io.StringIO]:
    """Return a context in which what pycocotools prints is kept from the user."""
    return contextlib.redirect_stdout(io.StringIO())


def _read_json(path: Path) -> Any:
    if not path.is_file():
        raise FileNotFoundError(f"No file at '{path}'; check the path.")
    try:
        return json.loads(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"'{path}' is not JSON ({error}); give COCO's .json.") from error


def _refuse_lvis(path: Path, image: Any) -> None:
    if isinstance(image, dict) and "neg_category_ids" in image:
        raise ValueError(
            f"'{path}' is LVIS's: not every object of a picture is annotated there, which "
            "pycocotools cannot score; give COCO's instances."
        )


def _check_entries(path: Path, part: str, entries: list[Any], keys: Sequence[str]) -> None:
    for number, entry in enumerate(entries):
        missing = [key for key in keys if not isinstance(entry, dict) or key not in entry]
        if missing:
            raise ValueError(
                f"'{path}': entry {number} of {part} lacks '{missing[0]}'; each has "
                f"{', '.join(keys)}."
            )
        if "bbox" in keys and not _is_box(entry["bbox"]):
            raise ValueError(
                f"'{path}': the bbox of entry {number} of {part} is {entry['bbox']!r}; give four "
                "numbers: x, y, width and height in pixels."
            )


def _is_box(box: Any) -> bool:
    return (
        isinstance(box, list)
        and len(box) == 4
        and all(isinstance(value, int | float) and abs(value) < 1e9 for value in box)
    )


def _check_ids(path: Path, part: str, entries: list[Entry], content: Mapping[str, Any]) -> None:
    for key, name in (("image_id", "images"), ("category_id", "categories")):
        known = {entry["id"] for entry in content[name]}
        unknown = next((entry[key] for entry in entries if entry[key] not in known), None)
        if unknown is not None:
            raise ValueError(
                f"'{path}' has {part} of {key} {unknown!r}, which is none of the annotations' "
                f"{len(known)} {name}; give files of the same split."
            )


def _corners(box: Sequence[float], width: int, height: int) -> list[float] | None:
    left, upper = max(0.0, box[0]), max(0.0, box[1])
    right, lower = min(float(width), box[0] + box[2]), min(float(height), box[1] + box[3])
    return [left, upper, right, lower] if right > left and lower > upper else None
