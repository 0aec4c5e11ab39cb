"""Benchmarks whose maps hold segments, and a JSON file says what each of them is.

As `readers`; ValueError is raised where a JSON file has another form, too.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image

from zoo.eval.datasets import IMAGE_SUFFIXES, read_samples
from zoo.eval.segmentation.class_names import COLOURS, SHAPES, Classes
from zoo.eval.segmentation.class_names_coco import PANOPTIC_IDS
from zoo.eval.segmentation.labelled_pictures import (
    IGNORED,
    ClassesOf,
    LabelledPicture,
    Labels,
    existing,
    value_classes,
)
from zoo.eval.segmentation.readers import require_folder
from zoo.eval.vision_language.question import entries, member, read_json


def read_coco_panoptic(folder: Path, split: str) -> list[LabelledPicture]:
    """COCO-Panoptic as classes of pixels: `SPLIT/*.jpg` (or `images/SPLIT`),
    `annotations/panoptic_SPLIT.json`, `annotations/panoptic_SPLIT/*.png` (segment ids as
    red + 256 green + 65536 blue; 0 is unlabelled, and ignored).
    """
    path = folder / "annotations" / f"panoptic_{split}.json"
    pictures = folder / split
    if not pictures.is_dir():
        pictures = require_folder(folder / "images" / split)
    by_id = {id: index for index, id in enumerate(PANOPTIC_IDS)}
    found = []
    for entry in entries(
        member(read_json(path), "annotations", path), ("file_name", "segments_info"), path
    ):
        name = str(entry["file_name"])
        found.append(
            LabelledPicture(
                name=name,
                picture=pictures / f"{name.removesuffix('.png')}.jpg",
                labels=folder / "annotations" / f"panoptic_{split}" / name,
                classes_of=_segment_classes(_classes_of_segments(entry, by_id, path)),
            )
        )
    return existing(sorted(found, key=lambda one: one.name))


Trait = Literal["shape", "colour"]
_TRAITS: Mapping[Trait, Classes] = {"shape": SHAPES, "colour": COLOURS}


def read_tiny_world(
    folder: Path, split: str, *, background: bool, trait: Trait = "shape"
) -> list[LabelledPicture]:
    """Shards of `zoo data tiny-world`: `KEY.png`, `KEY.mask.png` (0 background, i + 1 object i),
    `KEY.json` (`objects`, whose `trait` is the class); a tar or a folder of tars.

    The whole folder is the split, which its writer chose.
    """
    paths = sorted(folder.glob("*.tar")) if folder.is_dir() else [folder]
    if not paths:
        raise FileNotFoundError(
            f"There are no tars in '{folder}'; `zoo data tiny-world` writes them."
        )
    classes = {names[0]: index + background for index, names in enumerate(_TRAITS[trait])}
    ground = 0 if background else IGNORED
    found = []
    for path in paths:
        for sample in read_samples(path):
            picture = next((sample[suffix] for suffix in IMAGE_SUFFIXES if suffix in sample), None)
            if picture is None or "mask.png" not in sample or "json" not in sample:
                raise ValueError(
                    f"{path}, sample {sample['__key__']} lacks a picture, .mask.png or .json; give "
                    "shards of `zoo data tiny-world` without conversations."
                )
            by_value = {0: ground} | _classes_of_objects(sample["json"], trait, classes, path)
            found.append(
                LabelledPicture(
                    name=str(sample["__key__"]),
                    picture=picture,
                    labels=sample["mask.png"],
                    classes_of=value_classes(by_value, max(by_value)),
                )
            )
    return found


def _classes_of_objects(
    text: bytes, trait: Trait, classes: Mapping[str, int], path: Path
) -> dict[int, int]:
    try:
        objects = json.loads(text)["objects"]
        return {number: classes[one[trait]] for number, one in enumerate(objects, start=1)}
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path} has a .json that does not list `objects` with a `{trait}` ({error!r}); give "
            "shards of `zoo data tiny-world`."
        ) from error


def _classes_of_segments(
    entry: Mapping[str, Any], by_id: Mapping[int, int], path: Path
) -> dict[int, int]:
    try:
        return {one["id"]: by_id[one["category_id"]] for one in entry["segments_info"]}
    except (KeyError, TypeError) as error:
        raise ValueError(
            f"{path}, {entry['file_name']}: a segment has no id or a category that is none of the "
            f"{len(by_id)} of COCO-Panoptic ({error!r}); give the official file."
        ) from error


def _segment_classes(classes: Mapping[int, int]) -> ClassesOf:
    def classes_of(map: Image.Image) -> Labels:
        red, green, blue = np.moveaxis(np.asarray(map.convert("RGB"), dtype=np.int64), -1, 0)
        segments, places = np.unique(red + 256 * green + 65536 * blue, return_inverse=True)
        wrong = [int(segment) for segment in segments if segment and segment not in classes]
        if wrong:
            raise ValueError(f"holds the segment {wrong[0]}, which its JSON file does not list.")
        table = np.array([classes.get(int(segment), IGNORED) for segment in segments])
        return table[places].reshape(red.shape)

    return classes_of
