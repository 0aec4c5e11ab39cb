"""Windows on COCO's pictures are captioned with what is seen through them.

.venv/bin/pytest tests/reinforced_data/masks/test_coco_windows.py
"""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from coco_files import BOXES, CATEGORIES, HEIGHT, WIDTH, write_coco
from PIL import Image

from zoo.reinforced_data.masks.coco_windows import pack_coco_windows
from zoo.reinforced_data.shards.read import read_shard
from zoo.reinforced_data.shards.sample import Sample

COLOURS = {"cat": (200, 0, 0), "dog": (0, 200, 0), "ant": (0, 0, 200)}


@pytest.fixture
def coco(tmp_path: Path) -> Path:
    """Grey pictures whose boxes have the colour of their category; crowds are grey."""
    folder = write_coco(tmp_path / "coco")
    names = {one["id"]: one["name"] for one in CATEGORIES}
    for image in (1, 2):
        picture = np.full((HEIGHT, WIDTH, 3), 100, dtype=np.uint8)
        for _, of, category, x, y, width, height, crowd in BOXES:
            if of == image and not crowd:
                picture[y : y + height, x : x + width] = COLOURS[names[category]]
        Image.fromarray(picture).save(folder / f"images/{image:012d}.jpg", quality=95)
    return folder


def packed(coco: Path, output: Path, windows: int = 40) -> list[Sample]:
    files = (coco / "images", coco / "instances.json")
    (shard,) = pack_coco_windows(*files, output, windows=windows)
    return list(read_shard(shard))


def shares(sample: Sample) -> dict[str, float]:
    """How much of the window has the colour of each category."""
    pixels = np.asarray(Image.open(io.BytesIO(sample.image))).astype(int)
    near = {name: np.abs(pixels - colour).max(axis=-1) < 60 for name, colour in COLOURS.items()}
    return {name: float(mask.mean()) for name, mask in near.items()}


def test_what_is_named_is_seen_and_what_fills_the_window_is_named(
    coco: Path, tmp_path: Path
) -> None:
    for sample in packed(coco, tmp_path / "windows"):
        (caption,) = sample.captions
        for name, share in shares(sample).items():
            if name in caption:
                assert share > 0
            assert name in caption or share < 0.25 or name == "ant"


def test_categories_have_equally_many_windows_and_the_largest_is_named_first(
    coco: Path, tmp_path: Path
) -> None:
    captions = [sample.captions[0] for sample in packed(coco, tmp_path / "windows")]
    assert all("cat" in caption for caption in captions[::2])
    assert all("dog" in caption for caption in captions[1::2])
    assert "a photo of a dog and a cat." in captions
    assert "ant" not in " ".join(captions)  # too narrow to be named


def test_windows_are_squares_inside_of_the_pictures_of_many_sizes(
    coco: Path, tmp_path: Path
) -> None:
    sizes = [Image.open(io.BytesIO(one.image)).size for one in packed(coco, tmp_path / "windows")]
    assert all(width == height <= HEIGHT for width, height in sizes)
    assert max(sizes)[0] > 2 * min(sizes)[0]


def test_the_same_files_give_the_same_bytes(coco: Path, tmp_path: Path) -> None:
    once, again = (packed(coco, tmp_path / name, windows=6) for name in ("once", "again"))
    assert once == again and len(once) == 6


def test_large_windows_are_made_smaller(tmp_path: Path) -> None:
    folder = write_large(tmp_path / "large", {"sheep": [100, 100, 300, 300]})
    sizes = {Image.open(io.BytesIO(one.image)).size for one in packed(folder, tmp_path / "out", 4)}
    assert sizes == {(192, 192)}


def test_what_is_out_of_the_window_is_not_named(tmp_path: Path) -> None:
    folder = write_large(
        tmp_path / "large", {"sheep": [20, 20, 60, 60], "goat": [560, 400, 60, 60]}
    )
    captions = [one.captions for one in packed(folder, tmp_path / "out", 4)]
    assert captions == [("a photo of a sheep.",), ("a photo of a goat.",)] * 2


def write_large(folder: Path, boxes: dict[str, list[int]]) -> Path:
    """Write one black picture of 640 by 480 with an object of each name."""
    (folder / "images").mkdir(parents=True)
    Image.new("RGB", (640, 480)).save(folder / "images/1.jpg")
    content = {
        "images": [{"id": 1, "file_name": "1.jpg", "width": 640, "height": 480}],
        "annotations": [
            {"id": id, "image_id": 1, "category_id": id, "bbox": box}
            for id, box in enumerate(boxes.values(), start=1)
        ],
        "categories": [{"id": id, "name": name} for id, name in enumerate(boxes, start=1)],
    }
    (folder / "instances.json").write_text(json.dumps(content))
    return folder
