"""Masks from boxes are scored as COCO scores them.

pytest tests/eval/segmentation/test_instances.py
"""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from zoo.cli import BAD_INPUT, main
from zoo.eval.results import read_results
from zoo.eval.segmentation.instance_files import (
    Instances,
    boxes_by_image,
    read_boxes,
    read_instances,
)
from zoo.eval.segmentation.instances import coco_precision, evaluate_instances
from zoo.models.load import load_model

WIDTH, HEIGHT = 48, 32
# Large and small, with corners on whole pixels, so that a polygon's mask is exact.
PLACES = {1: [(2, 2, 20, 20), (30, 10, 10, 16)], 2: [(4, 4, 40, 24)]}


def polygon(x: int, y: int, width: int, height: int) -> list[list[float]]:
    return [[x, y, x + width, y, x + width, y + height, x, y + height]]


def annotated() -> dict[str, Any]:
    boxes = [(image, box) for image, found in PLACES.items() for box in found]
    objects = [
        {
            "id": number,
            "image_id": image,
            "category_id": 1 + number % 2,
            "bbox": list(box),
            "segmentation": polygon(*box),
            "area": box[2] * box[3],
            "iscrowd": 0,
        }
        for number, (image, box) in enumerate(boxes, start=1)
    ]
    crowd = objects[0] | {
        "id": 9,
        "iscrowd": 1,
        "segmentation": {"size": [HEIGHT, WIDTH], "counts": [0, 64, WIDTH * HEIGHT - 64]},
    }
    return {
        "images": [
            {"id": image, "file_name": f"{image}.png", "width": WIDTH, "height": HEIGHT}
            for image in PLACES
        ],
        "annotations": [*objects, crowd],
        "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
    }


def written(folder: Path, content: Any, name: str = "instances.json") -> Path:
    path = folder / name
    path.write_text(json.dumps(content))
    return path


@pytest.fixture
def instances(tmp_path: Path) -> Instances:
    for image in PLACES:
        pixels = np.random.default_rng(image).integers(256, size=(HEIGHT, WIDTH, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{image}.png")
    return read_instances(written(tmp_path, annotated()))


def masks_of(instances: Instances, shift: int = 0) -> list[dict[str, Any]]:
    """The annotated masks, moved to the right by some pixels, as a detector's results."""
    from pycocotools import mask

    index = instances.index()
    results = []
    for entry in instances.objects:
        pixels = np.roll(index.annToMask(entry), shift, axis=1)
        results.append(
            {
                "image_id": entry["image_id"],
                "category_id": entry["category_id"],
                "segmentation": mask.encode(np.asfortranarray(pixels)),
                "score": 0.9,
            }
        )
    return results


def test_the_annotated_masks_have_a_precision_of_one(instances: Instances):
    found = coco_precision(instances.index(), masks_of(instances), [1, 2])
    assert found["AP"] == found["AP50"] == found["AP75"] == pytest.approx(1)
    assert "AP_large" not in found  # Nothing here is larger than 96² pixels.


def test_moved_masks_lose_precision_where_much_overlap_is_asked(instances: Instances):
    found = coco_precision(instances.index(), masks_of(instances, shift=3), [1, 2])
    assert found["AP50"] == pytest.approx(1)
    assert found["AP"] < 0.7
    assert found["AP75"] < found["AP50"]


def test_only_the_pictures_that_were_evaluated_count(instances: Instances):
    first = [mask for mask in masks_of(instances) if mask["image_id"] == 1]
    assert coco_precision(instances.index(), first, [1])["AP"] == pytest.approx(1)
    assert coco_precision(instances.index(), first, [1, 2])["AP"] < 1


def test_crowds_are_no_objects_and_boxes_are_cut_at_the_edges(instances: Instances):
    assert [entry["id"] for entry in instances.objects] == [1, 2, 3]
    entries = [
        {"image_id": 1, "bbox": [-5, -5, 20, 100]},
        {"image_id": 1, "bbox": [WIDTH + 1, 0, 5, 5]},
        {"image_id": 7, "bbox": [0, 0, 5, 5]},
    ]
    found = boxes_by_image(entries, instances.images)
    assert {image: boxes.corners.tolist() for image, boxes in found.items()} == {
        1: [[0, 0, 15, HEIGHT]]
    }


def test_a_model_answers_every_box_and_says_how_it_was_asked(instances: Instances):
    torch.manual_seed(0)
    model = load_model("sam-clip-tiny", weights=None)
    told = []
    result = evaluate_instances(
        model, instances, instances.path.parent, progress=lambda progress: told.append(progress)
    )
    assert [mask["annotation_id"] for mask in result.masks] == [1, 2, 3]
    assert [progress.done for progress in told] == [1, 2]
    assert result.protocol["boxes"] == "annotated"
    # The mean is over the model's own masks, in the pictures' own pixels.
    index = instances.index()
    from pycocotools import mask as codes

    ious = []
    for mask in result.masks:
        truth = index.annToMask(index.anns[mask["annotation_id"]]).astype(bool)
        own = codes.decode(mask["segmentation"]).astype(bool)
        ious.append((own & truth).sum() / (own | truth).sum())
    assert result.metrics["mean_iou"] == pytest.approx(np.mean(ious))
    plain = evaluate_instances(model, instances, instances.path.parent, refine=False, limit=1)
    assert plain.protocol["images"] == 1
    assert plain.masks[0]["segmentation"] != result.masks[0]["segmentation"]


def test_the_command_scores_a_detectors_boxes_by_the_detectors_scores(
    instances: Instances, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    detected = [
        {"image_id": 1, "category_id": 2, "bbox": [1.5, 2, 20, 19], "score": 0.75},
        {"image_id": 2, "category_id": 2, "bbox": [3, 4, 40, 25], "score": 0.5},
    ]
    boxes = written(tmp_path, detected, "boxes.json")
    line = f"eval instances --data {tmp_path} --annotations {instances.path} --boxes {boxes}"
    options = f"--model sam-clip-tiny --weights none --results {tmp_path}/results.jsonl"
    assert main([*line.split(), *options.split()]) == 0
    assert "published" in capsys.readouterr().out
    (record,) = read_results(tmp_path / "results.jsonl")
    assert record["protocol"]["scores"] == "detector"
    assert record["protocol"]["box_count"] == 2
    assert "mean_iou" not in record["metrics"]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda content: content.pop("categories"), "no list 'categories'"),
        (lambda content: content["annotations"][1].pop("bbox"), "entry 1 of annotations lacks"),
        (
            lambda content: content["annotations"][0].update(bbox=[1, 2]),
            r"bbox of entry 0 .* \[1, 2",
        ),
        (lambda content: content["annotations"][0].update(image_id=77), "image_id 77"),
        (lambda content: content["images"][0].update(neg_category_ids=[]), "is LVIS's"),
    ],
)
def test_a_file_of_another_form_is_named_with_its_fault(tmp_path: Path, change: Any, sentence: str):
    content = copy.deepcopy(annotated())
    change(content)
    with pytest.raises(ValueError, match=sentence):
        read_instances(written(tmp_path, content))


def test_boxes_of_another_form_or_split_are_refused(instances: Instances, tmp_path: Path):
    with pytest.raises(ValueError, match="no list of boxes"):
        read_boxes(instances.path, instances)
    box = {"image_id": 1, "category_id": 5, "bbox": [0, 0, 1, 1], "score": 1}
    with pytest.raises(ValueError, match="category_id 5"):
        read_boxes(written(tmp_path, [box], "boxes.json"), instances)


def test_pictures_of_another_size_than_annotated_are_refused(
    instances: Instances, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    Image.new("RGB", (HEIGHT, WIDTH)).save(tmp_path / "1.png")
    line = f"eval instances --data {tmp_path} --annotations {instances.path}"
    assert main([*line.split(), "--model", "sam-clip-tiny", "--weights", "none"]) == BAD_INPUT
    assert "is 32x48 pixels and annotated as 48x32" in capsys.readouterr().err
