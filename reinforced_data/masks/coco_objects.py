"""The objects of COCO's pictures, cut out one by one: labelled pictures to teach names with."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

from zoo.models.class_names import DEFAULT_TEMPLATES
from zoo.models.preprocess import open_image
from zoo.reinforced_data.masks.coco_shards import by_image, picture_file, read_coco
from zoo.reinforced_data.randomness import packing_order
from zoo.reinforced_data.shards.own_pictures import class_captions
from zoo.reinforced_data.shards.pack import write_packed
from zoo.reinforced_data.shards.sample import Sample

_CONTEXT = 1.1
"""Side of the square that is cut out, in longer sides of the object's box."""
_LEAST_SIDE = 16.0
"""Pixels; a box with a shorter side shows too little to be named."""
_SAMPLES_PER_SHARD = 1000


def pack_coco_objects(images: Path, instances: Path, output: Path) -> list[Path]:
    """Write each object of a COCO data set as a labelled picture, and return the shards' paths.

    The picture is the square about the object's box, as far as there is a picture; crowds and boxes
    under 16 pixels are left out. Labels count the categories that are left, in the file's order;
    their names stand in `output/classnames.txt`. The pictures that they are of stand in a random
    order, since a loader mixes neighbouring shards only; the same files give the same shards.

    Args:
        images: folder of the pictures.
        instances: `instances_*.json`.
        output: where the tars go; it must hold none yet.

    Raises FileNotFoundError for a file or picture that is not there, and ValueError for a file
    that is not as COCO's, has no such object, or an output that holds shards.
    """
    named = read_named_objects(instances)
    samples = _samples(images, named)
    return list(write_packed(samples, output, named.class_names, _SAMPLES_PER_SHARD).shards)


class NamedObject(NamedTuple):
    """An object that shows enough to be named."""

    id: int
    """Of its annotation."""
    box: Sequence[float]
    """x, y, width and height in pixels."""
    label: int


class NamedObjects(NamedTuple):
    """The objects of a COCO data set that show enough to be named."""

    class_names: tuple[str, ...]
    """Of the categories that they are of, in the file's order; labels count these."""
    pictures: Sequence[tuple[Mapping[str, Any], Sequence[NamedObject]]]
    """Entries of `images`, in the file's order, with their objects."""


def read_named_objects(instances: Path) -> NamedObjects:
    """Read what is no crowd and has a box of 16 pixels or more.

    Raises FileNotFoundError where there is no file, and ValueError for one that is not as COCO's or
    has no such object.
    """
    content = read_coco(instances)
    objects = [one for one in content["annotations"] if _can_be_named(one)]
    used = {one["category_id"] for one in objects}
    categories = [one for one in content.get("categories", []) if one["id"] in used]
    if not categories:
        raise ValueError(
            f"'{instances}' has no object of a named category with a box of {_LEAST_SIDE:.0f} "
            "pixels or more; give COCO's instances_….json."
        )
    labels = {one["id"]: label for label, one in enumerate(categories)}
    found = by_image(objects)
    return NamedObjects(
        class_names=tuple(one["name"] for one in categories),
        pictures=[
            (record, [_named(one, labels) for one in found[record["id"]]])
            for record in content["images"]
        ],
    )


def png_of(picture: Image.Image) -> bytes:
    """Return a picture as a PNG file."""
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def _can_be_named(annotation: Mapping[str, Any]) -> bool:
    return not annotation.get("iscrowd") and min(annotation["bbox"][2:]) >= _LEAST_SIDE


def _named(annotation: Mapping[str, Any], labels: Mapping[int, int]) -> NamedObject:
    """`labels`: by COCO's `category_id`."""
    return NamedObject(annotation["id"], annotation["bbox"], labels[annotation["category_id"]])


def _samples(folder: Path, named: NamedObjects) -> Iterator[Sample]:
    captions = class_captions(named.class_names, DEFAULT_TEMPLATES)
    for record, objects in (named.pictures[i] for i in packing_order(len(named.pictures))):
        picture = open_image(picture_file(folder, record))
        for one in objects:
            yield Sample(
                key=str(one.id),
                image=png_of(_cut_out(picture, one.box)),
                captions=captions[one.label],
                label=one.label,
            )


def _cut_out(picture: Image.Image, box: Sequence[float]) -> Image.Image:
    x, y, width, height = box
    half = _CONTEXT * max(width, height) / 2
    centre_x, centre_y = x + width / 2, y + height / 2
    square = (
        max(0, round(centre_x - half)),
        max(0, round(centre_y - half)),
        min(picture.width, round(centre_x + half)),
        min(picture.height, round(centre_y + half)),
    )
    return picture.crop(square)
