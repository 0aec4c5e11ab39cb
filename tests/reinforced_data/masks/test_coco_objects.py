"""The objects of COCO's pictures become labelled pictures.

.venv/bin/pytest tests/reinforced_data/masks/test_coco_objects.py
"""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from coco_files import write_coco
from PIL import Image

from zoo.reinforced_data.masks.coco_objects import pack_coco_objects
from zoo.reinforced_data.shards.read import read_shard
from zoo.reinforced_data.shards.sample import Sample


@pytest.fixture
def coco(tmp_path: Path) -> Path:
    return write_coco(tmp_path / "coco")


def packed(coco: Path, output: Path) -> dict[str, Sample]:
    (shard,) = pack_coco_objects(coco / "images", coco / "instances.json", output)
    return {sample.key: sample for sample in read_shard(shard)}


def test_objects_that_show_enough_are_cut_out_with_their_names(coco: Path, tmp_path: Path) -> None:
    samples = packed(coco, tmp_path / "objects")
    assert (tmp_path / "objects/classnames.txt").read_text() == "cat\ndog\n"
    assert {key: one.label for key, one in samples.items()} == {"11": 1, "12": 0, "13": 0}
    assert samples["11"].captions == ("a photo of a dog.",)


def test_what_is_cut_out_is_a_square_about_the_box_inside_of_the_picture(
    coco: Path, tmp_path: Path
) -> None:
    samples = packed(coco, tmp_path / "objects")
    whole = np.asarray(Image.open(coco / "images/000000000001.jpg"))
    cat = np.asarray(Image.open(io.BytesIO(samples["12"].image)))
    np.testing.assert_array_equal(cat, whole[15:37, 15:37])  # 16…36, and a pixel around it
    at_the_corner = Image.open(io.BytesIO(samples["13"].image))
    assert at_the_corner.size == (30, 32)  # 66.5…99.5 and -1.5…31.5, cut at 96 and 0


def test_the_same_files_give_the_same_bytes(coco: Path, tmp_path: Path) -> None:
    for name in ("once", "again"):
        packed(coco, tmp_path / name)
    once, again = ((tmp_path / name / "00000.tar").read_bytes() for name in ("once", "again"))
    assert once == again


def test_a_file_without_objects_to_name_is_refused(coco: Path, tmp_path: Path) -> None:
    path = coco / "instances.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {"annotations": content["annotations"][-2:]}))
    with pytest.raises(ValueError, match=r"instances.json' has no object .* 16 pixels"):
        pack_coco_objects(coco / "images", path, tmp_path / "objects")
    assert not (tmp_path / "objects").exists()
