"""Instances are read in every form, and prompts are drawn on them as SAM draws them.

.venv/bin/pytest tests/reinforced_data/masks/test_mask_prompts.py
"""

import io
import json
from typing import Any

import numpy as np
import pycocotools.mask
import pytest
from PIL import Image

from zoo.models.sam_clip.frame import Frame
from zoo.models.sam_clip.prompt_encoder import (
    BOTTOM_RIGHT,
    FOREGROUND,
    NOT_A_POINT,
    TOP_LEFT,
)
from zoo.reinforced_data.masks.instances import Instances, read_instances
from zoo.reinforced_data.masks.prompts import (
    BOX,
    BOX_AND_POINT,
    POINT,
    PromptRows,
    draw_prompts,
    grid_prompts,
)

WIDTH, HEIGHT, SIDE = 200, 100, 128
FRAME = Frame(side=SIDE, width=WIDTH, height=HEIGHT)
LABELS = {
    POINT: [FOREGROUND, NOT_A_POINT, NOT_A_POINT],
    BOX: [TOP_LEFT, BOTTOM_RIGHT, NOT_A_POINT],
    BOX_AND_POINT: [TOP_LEFT, BOTTOM_RIGHT, FOREGROUND],
}


def png(numbers: np.ndarray) -> bytes:
    content = io.BytesIO()
    Image.fromarray(numbers).save(content, "PNG")
    return content.getvalue()


def rectangle(x: int, y: int, width: int, height: int) -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[y : y + height, x : x + width] = True
    return mask


def read(members: dict[str, bytes]) -> list[np.ndarray]:
    instances = read_instances(members, WIDTH, HEIGHT)
    return [instances.mask(i) for i in range(len(instances))]


def annotated(*segmentations: Any, **more: Any) -> dict[str, bytes]:
    annotations = [{"segmentation": one} | more for one in segmentations]
    return {"json": json.dumps({"image": {}, "annotations": annotations}).encode()}


def drawn(count: int, *masks: np.ndarray, seed: int = 0) -> PromptRows:
    rng = np.random.default_rng(seed)
    return draw_prompts(rng, Instances(masks, WIDTH, HEIGHT), FRAME, count)[0]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_picture_of_numbers_has_an_instance_for_each_number(dtype: type) -> None:
    numbers = np.zeros((HEIGHT, WIDTH), dtype)
    numbers[10:20, 30:50], numbers[40:60, 80:90] = 3, 200
    first, second = read({"mask.png": png(numbers), "json": b"{}"})
    assert (first == rectangle(30, 10, 20, 10)).all()
    assert (second == rectangle(80, 40, 10, 20)).all()


def test_polygons_and_both_kinds_of_run_lengths_are_decoded() -> None:
    mask = rectangle(30, 10, 20, 10)
    compressed: Any = pycocotools.mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    flat = mask.T.flatten().astype(int)
    edges = np.flatnonzero(np.diff(flat)) + 1
    plain = {"size": [HEIGHT, WIDTH], "counts": np.diff([0, *edges, flat.size]).tolist()}
    polygon = [[30, 10, 50, 10, 50, 20, 30, 20]]
    text = {"size": [HEIGHT, WIDTH], "counts": compressed["counts"].decode()}
    for found in read(annotated(polygon, plain, text)):
        assert (found == mask).all()


def test_crowds_and_metadata_of_another_kind_are_no_instances() -> None:
    polygon = [[30, 10, 50, 10, 50, 20, 30, 20]]
    assert read(annotated(polygon, iscrowd=1)) == []
    assert read({"json": b'{"caption": "a dog"}'}) == []
    assert read({}) == []


@pytest.mark.parametrize(
    "members, what",
    [
        ({"mask.png": b"\x89PNG damaged"}, "cannot be read"),
        ({"mask.png": png(np.zeros((HEIGHT, WIDTH, 3), np.uint8))}, "in colour"),
        ({"mask.png": png(np.ones((HEIGHT, HEIGHT), np.uint8))}, "100x100 pixels for a picture of"),
        ({"json": b"{"}, "not JSON"),
        (annotated("nonsense"), "neither polygons nor run lengths"),
        (annotated([[1, 2, 3]]), "neither polygons nor run lengths"),
        (annotated({"size": [5, 5], "counts": [25]}), "5x5 pixels"),
        (annotated({"size": [HEIGHT, WIDTH], "counts": [30]}), "do not fill"),
        (annotated({"size": [HEIGHT, WIDTH], "counts": "PPPPPPPPPPPPPPPPPPPP"}), "do not fill"),
    ],
)
def test_damaged_masks_are_an_error_that_says_what_is_wrong(
    members: dict[str, bytes], what: str
) -> None:
    with pytest.raises(ValueError, match=what):
        read(members)


def test_a_third_each_are_points_boxes_and_both_with_their_labels() -> None:
    prompts = drawn(600, rectangle(30, 10, 20, 10))
    assert (np.bincount(prompts.kinds) > 160).all()
    for kind, labels in zip(prompts.kinds, prompts.labels, strict=True):
        assert labels.tolist() == LABELS[int(kind)]


def test_points_lie_anywhere_inside_the_mask_and_nowhere_else() -> None:
    mask = rectangle(30, 10, 4, 2) | rectangle(150, 90, 4, 2)
    prompts = drawn(600, mask)
    points = prompts.points[prompts.kinds == POINT, 0]
    pixels = np.floor(points * SIDE * WIDTH / SIDE).astype(int)
    hit = {(x, y) for x, y in pixels.tolist()}
    assert hit == {(x, y) for y, x in np.argwhere(mask).tolist()}


def test_boxes_are_the_mask_s_own_moved_by_a_tenth_of_their_side_or_less_if_large() -> None:
    small = drawn(900, rectangle(60, 30, 20, 10))
    corners = small.points[small.kinds == BOX, :2] * WIDTH - 0.5 * WIDTH / SIDE
    np.testing.assert_allclose(corners.mean(0), [[60, 30], [80, 40]], atol=0.5)
    np.testing.assert_allclose(corners.std(0), [[2, 1], [2, 1]], rtol=0.25)
    large = drawn(300, rectangle(40, 20, 120, 60))
    corners = large.points[large.kinds == BOX, :2] * WIDTH - 0.5 * WIDTH / SIDE
    most = 20 / 1024 * WIDTH + 1e-3
    assert abs(corners - [[40, 20], [160, 80]]).max() <= most


def test_boxes_stay_inside_the_picture() -> None:
    prompts = drawn(300, np.ones((HEIGHT, WIDTH), bool))
    assert prompts.points.min() >= 0
    assert (prompts.points.max((0, 1)) <= [1, 0.5]).all()


def test_every_instance_is_asked_for_before_one_is_asked_for_again() -> None:
    masks = [rectangle(10 * i, 5, 5, 5) for i in range(4)]
    empty = np.zeros((HEIGHT, WIDTH), bool)
    prompts = drawn(10, *masks, empty)
    assert sorted(prompts.instances[:4]) == [0, 1, 2, 3]
    assert sorted(np.bincount(prompts.instances)) == [2, 2, 3, 3]
    assert len(set(drawn(3, *masks).instances.tolist())) == 3


def test_nothing_is_asked_where_there_is_no_instance() -> None:
    assert len(drawn(5).kinds) == len(drawn(5, np.zeros((HEIGHT, WIDTH), bool)).kinds) == 0


def test_a_grid_of_points_covers_the_picture_and_not_the_padding() -> None:
    prompts = grid_prompts(FRAME, 10)
    x, y = (1 / 6, 3 / 6, 5 / 6), (1 / 12, 3 / 12, 5 / 12)
    expected = [(a, b) for b in y for a in x]
    np.testing.assert_allclose(prompts.points[:, 0], expected, atol=1e-6)
    assert (prompts.kinds == POINT).all() and prompts.labels.tolist() == [LABELS[POINT]] * 9
