"""COCO's instances are drawn as classes of pixels.

.venv/bin/pytest tests/eval/segmentation/test_instance_classes.py
"""

from __future__ import annotations

from pathlib import Path

import pytest
from coco_files import HEIGHT, WIDTH, write_coco

from zoo.eval.segmentation.instance_classes import read_instance_classes
from zoo.eval.segmentation.labelled_pictures import IGNORED


@pytest.fixture
def coco(tmp_path: Path) -> Path:
    return write_coco(tmp_path / "coco")


def test_small_objects_lie_on_large_ones_and_all_else_is_ignored(coco: Path) -> None:
    first, second = read_instance_classes(coco / "images", coco / "instances.json", ["cat", "dog"])
    picture, classes = first.read()
    assert picture.size == (WIDTH, HEIGHT)
    assert classes[17:35, 17:35].eq(0).all()
    assert classes[38:47, 9:67].eq(1).all()
    assert classes[50:].eq(IGNORED).all() and classes[:7].eq(IGNORED).all()
    crowd, unnamed, cat = (slice(41, 64), slice(1, 39)), (slice(3, 31), slice(3, 9)), (5, 80)
    classes = second.read().classes
    assert classes[crowd].eq(IGNORED).all() and classes[unnamed].eq(IGNORED).all()
    assert classes[cat] == 0


def test_files_and_names_that_cannot_be_used_are_refused(coco: Path) -> None:
    instances = coco / "instances.json"
    with pytest.raises(ValueError, match="There are 0 class names; give 1 to 255"):
        read_instance_classes(coco / "images", instances, [])
    (coco / "images/000000000002.jpg").unlink()
    with pytest.raises(FileNotFoundError, match=r"1 of 2 files .*2.jpg"):
        read_instance_classes(coco / "images", instances, ["cat"])
