"""Folders of segmentation benchmarks as their authors lay them out, with a picture or two.

Used by .venv/bin/pytest tests/eval/segmentation tests/zoo/test_eval_segmentation_command.py
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

Values = list[list[int]]


def write_picture(path: Path, width: int, height: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def write_map(path: Path, values: Values) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.array(values, dtype=np.uint8)).save(path)


def write_pair(picture: Path, labels: Path, values: Values) -> None:
    write_picture(picture, len(values[0]), len(values))
    write_map(labels, values)


def write_list(path: Path, *names: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{name}\n" for name in names))


def write_voc(folder: Path, values: Values) -> None:
    write_list(folder / "ImageSets/Segmentation/val.txt", "2007_1")
    write_pair(folder / "JPEGImages/2007_1.jpg", folder / "SegmentationClass/2007_1.png", values)


def write_context(folder: Path, values: Values) -> None:
    write_list(folder / "ImageSets/SegmentationContext/val.txt", "a")
    write_pair(folder / "JPEGImages/a.jpg", folder / "SegmentationClassContext/a.png", values)


def write_ade20k(folder: Path, values: Values) -> None:
    write_pair(folder / "images/validation/a.jpg", folder / "annotations/validation/a.png", values)


def write_coco_stuff(folder: Path, values: Values) -> None:
    write_pair(folder / "images/val2017/1.jpg", folder / "annotations/val2017/1.png", values)


def write_coco_stuff_train_ids(folder: Path, values: Values) -> None:
    maps = folder / "annotations/val2017"
    write_pair(folder / "images/val2017/1.jpg", maps / "1_labelTrainIds.png", values)


def write_cityscapes(folder: Path, values: Values) -> None:
    maps = folder / "gtFine/val/bonn"
    picture = folder / "leftImg8bit/val/bonn/bonn_1_leftImg8bit.png"
    write_pair(picture, maps / "bonn_1_gtFine_labelIds.png", values)


def write_cityscapes_train_ids(folder: Path, values: Values) -> None:
    maps = folder / "gtFine/val/bonn"
    picture = folder / "leftImg8bit/val/bonn/bonn_1_leftImg8bit.png"
    write_pair(picture, maps / "bonn_1_gtFine_labelTrainIds.png", values)


def write_coco_panoptic(folder: Path, values: Values) -> None:
    """Segments 70000 + v of category v, and 0 where a value is 0."""
    segments = np.array([[70_000 + value if value else 0 for value in row] for row in values])
    channels = [segments % 256, segments // 256 % 256, segments // 65536]
    maps = folder / "annotations/panoptic_val2017"
    maps.mkdir(parents=True)
    Image.fromarray(np.stack(channels, axis=-1).astype(np.uint8)).save(maps / "1.png")
    write_picture(folder / "val2017/1.jpg", segments.shape[1], segments.shape[0])
    ids = sorted({value for row in values for value in row if value})
    info = [{"id": 70_000 + id, "category_id": id} for id in ids]
    content = {"annotations": [{"file_name": "1.png", "segments_info": info}]}
    (folder / "annotations/panoptic_val2017.json").write_text(json.dumps(content))


Write = Callable[[Path, Values], None]
