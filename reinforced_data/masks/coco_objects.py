"""The objects of COCO's pictures, cut out one by one: labelled pictures to teach names with."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

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
    names = [one["name"] for one in categories]
    records = [content["images"][i] for i in packing_order(len(content["images"]))]
    samples = _samples(images, records, by_image(objects), labels, names)
    return list(write_packed(samples, output, tuple(names), _SAMPLES_PER_SHARD).shards)


def _can_be_named(annotation: Mapping[str, Any]) -> bool:
    return not annotation.get("iscrowd") and min(annotation["bbox"][2:]) >= _LEAST_SIDE


def _samples(
    folder: Path,
    records: Sequence[Mapping[str, Any]],
    objects: Mapping[int, Sequence[Mapping[str, Any]]],
    labels: Mapping[int, int],
    names: Sequence[str],
) -> Iterator[Sample]:
    captions = class_captions(names, DEFAULT_TEMPLATES)
    for record in records:
        picture = open_image(picture_file(folder, record))
        for one in objects.get(record["id"], ()):
            label = labels[one["category_id"]]
            yield Sample(
                key=str(one["id"]),
                image=_cut_out(picture, one["bbox"]),
                captions=captions[label],
                label=label,
            )


def _cut_out(picture: Image.Image, box: Sequence[float]) -> bytes:
    """`box`: x, y, width and height. Returns a PNG."""
    x, y, width, height = box
    half = _CONTEXT * max(width, height) / 2
    centre_x, centre_y = x + width / 2, y + height / 2
    square = (
        max(0, round(centre_x - half)),
        max(0, round(centre_y - half)),
        min(picture.width, round(centre_x + half)),
        min(picture.height, round(centre_y + half)),
    )
    file = io.BytesIO()
    picture.crop(square).save(file, "PNG")
    return file.getvalue()
