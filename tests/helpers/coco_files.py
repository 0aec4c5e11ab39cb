"""A folder of photographs in COCO's form: images/, instances.json and captions.json.

Used by .venv/bin/pytest tests/eval/segmentation tests/reinforced_data/masks tests/zoo
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pictures import photo

WIDTH, HEIGHT = 96, 64
CATEGORIES = [{"id": 3, "name": "cat"}, {"id": 5, "name": "dog"}, {"id": 9, "name": "ant"}]
BOXES = [
    # id, image, category, x, y, width, height, crowd
    (11, 1, 5, 8, 8, 60, 40, 0),
    (12, 1, 3, 16, 16, 20, 20, 0),
    (13, 2, 3, 70, 0, 26, 30, 0),
    (14, 2, 9, 2, 2, 8, 30, 0),
    (15, 2, 5, 0, 40, 40, 24, 1),
]
"""The cat of the first picture lies on the dog; the ant is too narrow to be named."""


def write_coco(folder: Path, pairs: int = 1) -> Path:
    """Write two pictures, or further pairs annotated alike, and return `folder`."""
    (folder / "images").mkdir(parents=True)
    names = {image: f"{image:012d}.jpg" for image in range(1, 2 * pairs + 1)}
    for image, name in names.items():
        photo(WIDTH, HEIGHT, seed=image).save(folder / "images" / name)
    images = [
        {"id": image, "file_name": name, "width": WIDTH, "height": HEIGHT}
        for image, name in names.items()
    ]
    captions = [{"image_id": image, "caption": f"picture {image}"} for image in names]
    instances = {"images": images, "annotations": _objects(pairs), "categories": CATEGORIES}
    (folder / "instances.json").write_text(json.dumps(instances))
    content = {"images": images, "annotations": captions}
    (folder / "captions.json").write_text(json.dumps(content))
    return folder


def _objects(pairs: int) -> list[dict[str, Any]]:
    return [
        {
            "id": id + 10 * pair,
            "image_id": image + 2 * pair,
            "category_id": category,
            "bbox": [x, y, width, height],
            "area": width * height,
            "iscrowd": crowd,
            "segmentation": [[x, y, x + width, y, x + width, y + height, x, y + height]],
        }
        for pair in range(pairs)
        for id, image, category, x, y, width, height, crowd in BOXES
    ]
