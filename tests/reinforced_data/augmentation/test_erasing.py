"""Random erasing is recorded as a box of the view and blackens it at any size.

.venv/bin/pytest tests/reinforced_data/augmentation/test_erasing.py
"""

import dataclasses

import numpy as np
import pytest
import torch
from pictures import picture
from torchvision.transforms import RandomErasing
from torchvision.transforms import functional as F

from zoo.reinforced_data.augmentation.policy import AugmentationPolicy
from zoo.reinforced_data.randomness import keyed_rng

POLICY = AugmentationPolicy(flip_probability=0.5, erase_probability=1.0)
WITHOUT = dataclasses.replace(POLICY, erase_probability=0.0)


def boxes(count: int) -> np.ndarray:
    """Left, top, width, height of drawn boxes: float32 (count, 4)."""
    return np.stack([POLICY.record(keyed_rng("box", i), 64, 64)[-4:] for i in range(count)])


def test_columns_appear_only_where_the_policy_erases() -> None:
    erase = ("erase_left", "erase_top", "erase_width", "erase_height")
    assert WITHOUT.columns + erase == POLICY.columns
    assert "erase_probability" not in WITHOUT.to_header()


def test_the_rest_of_the_record_is_drawn_as_without_erasing() -> None:
    for i in range(50):
        with_box, without = (p.record(keyed_rng(i), 400, 300) for p in (POLICY, WITHOUT))
        assert (with_box[:-4] == without).all()


@pytest.mark.parametrize("size", [32, 224, 331])
def test_the_view_is_black_in_the_box_and_untouched_elsewhere(size: int) -> None:
    image = picture()
    for i in range(20):
        params = POLICY.record(keyed_rng(i), *image.size)
        left, top, width, height = params[-4:].astype(float) * size
        expected = np.array(WITHOUT.replay(image, params[:-4], size))
        expected[round(top) : round(top + height), round(left) : round(left + width)] = 0
        assert (np.asarray(POLICY.replay(image, params, size)) == expected).all()


def test_a_box_of_torchvisions_pixels_replays_to_what_torchvision_erases() -> None:
    image = picture()
    torch.manual_seed(0)
    for i in range(20):
        params = POLICY.record(keyed_rng(i), *image.size)
        view = F.to_tensor(WITHOUT.replay(image, params[:-4], 224))
        top, left, height, width, value = RandomErasing.get_params(
            view, scale=(0.02, 0.33), ratio=(0.3, 3.3), value=[0.0]
        )
        params[-4:] = np.array([left, top, width, height]) / 224
        expected = F.erase(view, top, left, height, width, value)
        assert torch.equal(F.to_tensor(POLICY.replay(image, params, 224)), expected)


def test_boxes_have_torchvisions_area_and_shape_and_lie_inside() -> None:
    left, top, width, height = boxes(3000).T
    area, shape = width * height, height / width
    assert 0.0199 < area.min() < 0.03 and 0.31 < area.max() < 0.3301
    assert 0.299 < shape.min() < 0.32 and 3.1 < shape.max() < 3.301
    assert np.log(shape).mean() == pytest.approx(0, abs=0.05)
    assert min(left.min(), top.min()) >= 0
    assert max((left + width).max(), (top + height).max()) <= 1 + 1e-6
    assert (left + width / 2).mean() == pytest.approx(0.5, abs=0.02)


def test_erasing_happens_as_often_as_asked() -> None:
    policy = AugmentationPolicy(erase_probability=0.25)
    records = np.stack([policy.record(keyed_rng("p", i), 64, 64) for i in range(3000)])
    erased = (records[:, -4:] != 0).any(axis=1)
    assert erased.mean() == pytest.approx(0.25, abs=0.03)
    assert (records[erased, -1] > 0).all()


def test_what_was_not_erased_replays_whole() -> None:
    params = POLICY.record(keyed_rng(0), 301, 223)
    params[-4:] = 0
    whole = WITHOUT.replay(picture(), params[:-4], 64)
    assert POLICY.replay(picture(), params, 64).tobytes() == whole.tobytes()
