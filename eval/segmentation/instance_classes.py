"""COCO's instances as classes of pixels."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from zoo.eval.segmentation.instance_files import Entry, Instances, read_instances
from zoo.eval.segmentation.labelled_pictures import (
    IGNORED,
    LabelledPicture,
    existing,
    value_classes,
)


def read_instance_classes(
    pictures: Path, instances: Path, class_names: Sequence[str]
) -> list[LabelledPicture]:
    """Return the pictures of COCO's `instances_*.json`, whose objects' pixels have classes.

    A pixel has the class of the smallest object that it belongs to; what belongs to none, to a
    crowd or to a category that is not in `class_names` is ignored. All maps are drawn here, some
    10 ms each.

    Raises FileNotFoundError for a file that is not there, and ValueError for one of another form
    or where pycocotools is not installed.
    """
    read = read_instances(instances)
    index = read.index()
    classes = _classes_by_category(read, class_names)
    values = {value: value for value in (*range(len(class_names)), IGNORED)}
    return existing(
        [
            LabelledPicture(
                name=str(image["file_name"]),
                picture=pictures / image["file_name"],
                labels=_drawn(image, index, classes),
                classes_of=value_classes(values, IGNORED),
            )
            for image in read.images
        ]
    )


def _classes_by_category(read: Instances, class_names: Sequence[str]) -> dict[int, int]:
    if not 0 < len(class_names) <= IGNORED:
        raise ValueError(f"There are {len(class_names)} class names; give 1 to {IGNORED}.")
    by_name = {name: number for number, name in enumerate(class_names)}
    return {one["id"]: by_name.get(one["name"], IGNORED) for one in read.content["categories"]}


def _drawn(image: Entry, index: Any, classes: Mapping[int, int]) -> bytes:
    """The map of a picture as PNG."""
    drawn = np.full((image["height"], image["width"]), IGNORED, dtype=np.uint8)
    objects = index.loadAnns(index.getAnnIds(image["id"]))
    for one in sorted(objects, key=lambda entry: entry["area"], reverse=True):
        value = IGNORED if one.get("iscrowd") else classes[one["category_id"]]
        drawn[index.annToMask(one).astype(bool)] = value
    file = io.BytesIO()
    Image.fromarray(drawn).save(file, "PNG")
    return file.getvalue()
