"""The readers take the authors' folders as they are and give every pixel its class.

.venv/bin/pytest tests/eval/segmentation/test_segmentation_readers.py
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from segmentation_folders import (
    Values,
    Write,
    write_ade20k,
    write_cityscapes,
    write_cityscapes_train_ids,
    write_coco_panoptic,
    write_coco_stuff,
    write_coco_stuff_train_ids,
    write_context,
    write_map,
    write_picture,
    write_voc,
)

from zoo.eval.segmentation.benchmarks import BENCHMARKS, get_segmentation_benchmark
from zoo.eval.segmentation.class_names import BACKGROUND_WORDS, COLOURS, SHAPES, VOC
from zoo.eval.segmentation.class_names_coco import PANOPTIC_IDS
from zoo.reinforced_data.shards.write import write_shards
from zoo.reinforced_data.tiny_world import scene_samples
from zoo.reinforced_data.tiny_world.scene import COLOURS as DRAWN_COLOURS
from zoo.reinforced_data.tiny_world.scene import SHAPES as DRAWN_SHAPES

COUNTS = {
    "voc21": 21,
    "voc20": 20,
    "context60": 60,
    "context59": 59,
    "ade20k": 150,
    "coco-stuff": 171,
    "coco-panoptic": 133,
    "cityscapes": 19,
    "tiny-world": 9,
    "tiny-world-objects": 8,
    "tiny-world-colours": 8,
}


@pytest.mark.parametrize(
    ("name", "write", "values", "names"),
    [
        ("voc21", write_voc, [[0, 15], [20, 255]], ["background", "person", "tv monitor", None]),
        ("voc20", write_voc, [[0, 1], [20, 255]], [None, "aeroplane", "tv monitor", None]),
        (
            "context60",
            write_context,
            [[0, 2], [36, 59]],
            ["background", "bag", "computer mouse", "wood"],
        ),
        ("context59", write_context, [[0, 1], [59, 255]], [None, "aeroplane", "wood", None]),
        ("ade20k", write_ade20k, [[0, 1], [13, 150]], [None, "wall", "person", "flag"]),
        (
            "coco-stuff",
            write_coco_stuff,
            [[0, 89], [181, 255]],
            ["person", "toothbrush", "wood", None],
        ),
        (
            "coco-stuff",
            write_coco_stuff_train_ids,
            [[0, 79], [170, 255]],
            ["person", "toothbrush", "wood", None],
        ),
        ("cityscapes", write_cityscapes, [[7, 33], [24, 3]], ["road", "bicycle", "person", None]),
        (
            "cityscapes",
            write_cityscapes_train_ids,
            [[0, 18], [11, 255]],
            ["road", "bicycle", "person", None],
        ),
        (
            "coco-panoptic",
            write_coco_panoptic,
            [[1, 90], [200, 0]],
            ["person", "toothbrush", "rug", None],
        ),
    ],
)
def test_labels_become_the_classes_that_the_authors_mean(
    name: str, write: Write, values: Values, names: list[str | None], tmp_path: Path
) -> None:
    write(tmp_path, values)
    benchmark = get_segmentation_benchmark(name)
    (picture,) = benchmark.pictures(tmp_path)
    found = picture.read()
    assert found.picture.size == (2, 2) and found.picture.mode == "RGB"
    classes = found.classes.flatten().tolist()
    assert [None if one == 255 else benchmark.class_names[one] for one in classes] == names


def test_the_tables_have_the_benchmarks_counts_and_no_word_for_two_classes() -> None:
    assert {one.name: len(one.classes) for one in BENCHMARKS} == COUNTS
    for benchmark in BENCHMARKS:
        words = [word for names in benchmark.classes for word in names]
        assert len(set(words)) == len(words), benchmark.name
    assert len(BACKGROUND_WORDS) == 26
    assert not {word for names in VOC for word in names} & set(BACKGROUND_WORDS)
    assert len(set(PANOPTIC_IDS)) == 133


def test_tiny_world_shards_have_the_shapes_as_classes(tmp_path: Path) -> None:
    assert tuple(names[0] for names in SHAPES) == DRAWN_SHAPES
    samples = list(scene_samples(3, seed=1, split="test"))
    write_shards(samples, tmp_path / "world", samples_per_shard=2)
    whole = get_segmentation_benchmark("tiny-world").pictures(tmp_path / "world")
    objects = get_segmentation_benchmark("tiny-world-objects").pictures(tmp_path / "world")
    for sample, with_ground, without in zip(samples, whole, objects, strict=True):
        shapes = {one["shape"] for one in json.loads(sample.extra["json"])["objects"]}
        present = {DRAWN_SHAPES.index(shape) for shape in shapes}
        assert set(without.read().classes.unique().tolist()) == {*present, 255}
        assert set(with_ground.read().classes.unique().tolist()) == {0, *(i + 1 for i in present)}


def test_tiny_world_shards_have_the_colours_as_classes(tmp_path: Path) -> None:
    assert tuple(names[0] for names in COLOURS) == DRAWN_COLOURS
    (sample,) = scene_samples(1, seed=1)
    write_shards([sample], tmp_path / "world", samples_per_shard=1)
    (picture,) = get_segmentation_benchmark("tiny-world-colours").pictures(tmp_path / "world")
    colours = {one["colour"] for one in json.loads(sample.extra["json"])["objects"]}
    present = {DRAWN_COLOURS.index(colour) for colour in colours}
    assert set(picture.read().classes.unique().tolist()) == {*present, 255}


def test_a_limit_takes_pictures_from_the_whole_list(tmp_path: Path) -> None:
    for number in range(6):
        write_picture(tmp_path / f"images/validation/{number}.jpg", 2, 1)
        write_map(tmp_path / f"annotations/validation/{number}.png", [[1, 1]])
    taken = get_segmentation_benchmark("ADE20K").pictures(tmp_path, limit=3)
    assert [one.name for one in taken] == ["0", "2", "4"]


def test_what_is_missing_or_wrong_is_one_sentence(tmp_path: Path) -> None:
    voc = get_segmentation_benchmark("voc21")
    with pytest.raises(FileNotFoundError, match=r"no list '.*val.txt'. Files of voc21: http"):
        voc.pictures(tmp_path)
    with pytest.raises(ValueError, match="no split 'test'; give val or train"):
        voc.pictures(tmp_path, split="test")
    with pytest.raises(ValueError, match="did you mean voc21"):
        get_segmentation_benchmark("voc2")
    with pytest.raises(FileNotFoundError, match="no folder"):
        get_segmentation_benchmark("ade20k").pictures(tmp_path)
    write_voc(tmp_path, [[0, 1]])
    (picture,) = voc.pictures(tmp_path)
    write_map(tmp_path / "SegmentationClass/2007_1.png", [[0, 21]])
    with pytest.raises(ValueError, match=r"2007_1.png' holds the label 21, which is none"):
        picture.read()
    write_map(tmp_path / "SegmentationClass/2007_1.png", [[0], [1]])
    with pytest.raises(ValueError, match="1x2 pixels, its picture 2x1"):
        picture.read()
    (tmp_path / "SegmentationClass/2007_1.png").write_bytes(b"no picture")
    with pytest.raises(ValueError, match="cannot be decoded"):
        picture.read()
    write_picture(tmp_path / "SegmentationClass/2007_1.png", 2, 1)
    with pytest.raises(ValueError, match="mode RGB, not a map"):
        picture.read()
    (tmp_path / "JPEGImages/2007_1.jpg").unlink()
    with pytest.raises(FileNotFoundError, match="1 of 2 files are missing"):
        voc.pictures(tmp_path)


def test_a_panoptic_file_must_list_what_the_maps_show(tmp_path: Path) -> None:
    write_coco_panoptic(tmp_path, [[1, 2]])
    panoptic = get_segmentation_benchmark("coco-panoptic")
    path = tmp_path / "annotations/panoptic_val2017.json"
    content = json.loads(path.read_text())
    segments = content["annotations"][0]["segments_info"]
    dropped = segments.pop()
    path.write_text(json.dumps(content))
    (picture,) = panoptic.pictures(tmp_path)
    with pytest.raises(ValueError, match="segment 70002, which its JSON file does not list"):
        picture.read()
    segments.append(dropped | {"category_id": 12})
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match="none of the 133"):
        panoptic.pictures(tmp_path)
    path.write_text("[]")
    with pytest.raises(ValueError, match="no 'annotations'"):
        panoptic.pictures(tmp_path)
