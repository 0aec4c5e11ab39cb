"""Recorded augmentations replay to the pixels that torchvision's own operations give.

.venv/bin/pytest tests/reinforced_data/augmentation/test_augmentation.py
"""

import dataclasses
import hashlib
import json

import numpy as np
import pytest
import torch
from pictures import picture
from PIL import Image, ImageChops
from torchvision.transforms import InterpolationMode, RandAugment, autoaugment
from torchvision.transforms import functional as F

from zoo.reinforced_data.augmentation.policy import AugmentationPolicy
from zoo.reinforced_data.augmentation.randaugment import RANDAUGMENT_OPS
from zoo.reinforced_data.randomness import keyed_rng

NAMES = [op.name for op in RANDAUGMENT_OPS]


def whole_picture(op: str, magnitude: float) -> np.ndarray:
    return np.array([0, 0, 1, 1, 0, NAMES.index(op), magnitude], dtype=np.float32)


def torchvision_magnitude(op: str, magnitude: int, size: int) -> float:
    table = RandAugment()._augmentation_space(31, (size, size))[op][0]
    return float(table[magnitude]) if table.ndim else 0.0


def torchvision_apply(image: Image.Image, op: str, magnitude: float) -> Image.Image:
    return autoaugment._apply_op(image, op, magnitude, InterpolationMode.NEAREST, None)  # type: ignore


def test_operations_stand_in_the_order_of_torchvisions_table() -> None:
    assert list(RandAugment()._augmentation_space(31, (224, 224))) == NAMES


@pytest.mark.parametrize("op", NAMES)
@pytest.mark.parametrize("magnitude", [0, 5, 9, 30])
def test_every_operation_equals_torchvisions_at_the_same_strength(op: str, magnitude: int) -> None:
    size = 224
    image = picture().resize((size, size))
    entry = RANDAUGMENT_OPS[NAMES.index(op)]
    policy = AugmentationPolicy(num_ops=1)
    for sign in (1, -1) if entry.signed else (1,):
        params = whole_picture(op, sign * entry.strength(magnitude / 30))
        expected = torchvision_apply(image, op, sign * torchvision_magnitude(op, magnitude, size))
        assert policy.replay(image, params, size).tobytes() == expected.tobytes()


@pytest.mark.parametrize("size", [64, 224, 331])
def test_hundreds_of_stored_records_replay_to_the_pixels_of_the_drawn_crop_and_operations(
    size: int,
) -> None:
    policy = AugmentationPolicy(flip_probability=0.5)
    for trial in range(150):
        rng = keyed_rng("trial", size, trial)
        width, height = int(rng.integers(20, 400)), int(rng.integers(20, 400))
        image = picture(width, height, seed=trial)
        params = np.frombuffer(policy.record(rng, width, height).tobytes(), np.float32)
        assert (
            policy.replay(image, params, size).tobytes() == by_hand(image, params, size).tobytes()
        )


def by_hand(image: Image.Image, params: np.ndarray, size: int) -> Image.Image:
    """The same record by torchvision, with float64 magnitudes and integer boxes."""
    left, top, width, height = (params[:4].astype(float) * [*image.size, *image.size]).round()
    box = (int(top), int(left), int(height), int(width))
    image = F.resized_crop(image, *box, [size, size], InterpolationMode.BICUBIC)  # type: ignore
    if params[4] == 1:
        image = F.hflip(image)  # type: ignore
    for index, stored in zip(params[5::2], params[6::2], strict=True):
        op = NAMES[int(index)]
        exact = torchvision_magnitude(op, 9, size)
        signed = RANDAUGMENT_OPS[int(index)].signed
        image = torchvision_apply(image, op, float(np.sign(stored)) * exact if signed else exact)
    return image


def test_the_same_record_moves_a_larger_picture_by_more_pixels() -> None:
    policy = AugmentationPolicy(num_ops=1)
    params = whole_picture("TranslateX", 150 / 331 * 9 / 30)
    for size, pixels in ((224, 30), (256, 34), (512, 69)):
        image = picture(size, size)
        moved = policy.replay(image, params, size)
        expected = Image.new("RGB", (size, size))
        expected.paste(image, (pixels, 0))
        assert ImageChops.difference(moved, expected).getbbox() is None


def test_a_record_shows_the_same_view_at_another_resolution() -> None:
    policy = AugmentationPolicy(num_ops=0, flip_probability=0.5)
    image = picture(400, 300)
    for trial in range(20):
        params = policy.record(keyed_rng(trial), 400, 300)
        small = policy.replay(image, params, 64)
        large = policy.replay(image, params, 256).resize((64, 64), Image.Resampling.BOX)
        difference = np.abs(np.asarray(small, float) - np.asarray(large, float)).mean()
        assert difference < 12


def test_a_record_of_one_copy_fits_a_copy_of_any_other_size() -> None:
    policy = AugmentationPolicy(scale=(0.9, 1.0), num_ops=0)
    white = {size: Image.new("RGB", size, "white") for size in ((37, 53), (5, 7), (1, 1))}
    for trial in range(200):
        params = policy.record(keyed_rng(trial), 370, 530)
        for image in white.values():
            assert policy.replay(image, params, 8).getextrema() == ((255, 255),) * 3


def test_crops_keep_the_asked_area_and_shape_and_cover_the_whole_range() -> None:
    policy = AugmentationPolicy(num_ops=0)
    records = np.stack([policy.record(keyed_rng(i), 640, 480) for i in range(2000)])
    widths, heights = records[:, 2] * 640, records[:, 3] * 480
    areas, ratios = records[:, 2] * records[:, 3], widths / heights
    assert 0.08 - 0.01 < areas.min() < 0.1 and 0.9 < areas.max() <= 1
    assert 3 / 4 - 0.02 < ratios.min() < 0.78 and 1.28 < ratios.max() < 4 / 3 + 0.02
    assert (records[:, :2] >= 0).all() and (records[:, :2] + records[:, 2:4] <= 1 + 1e-6).all()


def test_a_very_long_picture_is_cropped_at_its_centre() -> None:
    policy = AugmentationPolicy(scale=(1.0, 1.0), num_ops=0)
    left, top, width, height, _ = policy.record(keyed_rng(0), 1000, 10)
    assert (top, height) == (0, 1)
    assert width * 1000 == 13 and left * 1000 == pytest.approx(493)


def test_probabilities_and_signs_are_drawn_as_often_as_asked() -> None:
    policy = AugmentationPolicy(flip_probability=0.3, op_probability=0.6, num_ops=1)
    records = np.stack([policy.record(keyed_rng("p", i), 64, 64) for i in range(4000)])
    assert records[:, 4].mean() == pytest.approx(0.3, abs=0.03)
    identities = 0.4 + 0.6 / 14
    assert (records[:, 5] == 0).mean() == pytest.approx(identities, abs=0.03)
    rotations = records[records[:, 5] == NAMES.index("Rotate"), 6]
    assert set(rotations) == {-9.0, 9.0}
    assert (rotations > 0).mean() == pytest.approx(0.5, abs=0.15)


def test_the_same_generator_records_the_same_numbers() -> None:
    policy = AugmentationPolicy()
    first, again = (policy.record(keyed_rng(7, "cat"), 640, 480) for _ in range(2))
    assert first.dtype == np.float32 and first.shape == (len(policy.columns),)
    assert (first == again).all()
    assert (first != policy.record(keyed_rng(7, "dog"), 640, 480)).any()


def test_records_and_headers_of_version_1_are_those_that_were_always_written() -> None:
    digest = hashlib.sha256()
    policies = (
        AugmentationPolicy(),
        AugmentationPolicy(flip_probability=0.5, op_probability=0.7, num_ops=3, scale=(0.3, 0.9)),
    )
    for policy in policies:
        digest.update(json.dumps(policy.to_header()).encode())
        for i in range(100):
            params = policy.record(keyed_rng("golden", i), 37 + 5 * i, 500 - 4 * i)
            digest.update(params.tobytes())
    # Written by the code before random erasing was added.
    assert digest.hexdigest() == (
        "62b2912317cb52566e18126251026bc63bae6199ce647c688adfeba31c073ce9"
    )


@pytest.mark.parametrize("erase_probability", [0.0, 0.25])
def test_a_policy_survives_the_header(erase_probability: float) -> None:
    policy = AugmentationPolicy(
        scale=(0.25, 0.9), num_ops=3, flip_probability=0.5, erase_probability=erase_probability
    )
    assert AugmentationPolicy.from_header(policy.to_header()) == policy


def test_a_header_of_another_version_is_refused() -> None:
    header = AugmentationPolicy().to_header() | {"version": "99"}
    with pytest.raises(ValueError, match="version '99'"):
        AugmentationPolicy.from_header(header)


def test_a_record_of_another_policy_is_refused() -> None:
    with pytest.raises(ValueError, match="5 numbers does not fit this policy, which records 9"):
        AugmentationPolicy().replay(picture(), np.zeros(5, np.float32), 32)


@pytest.mark.parametrize(
    "change",
    [
        {"scale": (0.0, 1.0)},
        {"scale": (0.9, 0.5)},
        {"ratio": (0.0, 1.0)},
        {"flip_probability": 1.5},
        {"op_probability": -0.1},
        {"erase_probability": 1.1},
        {"num_ops": -1},
        {"magnitude": 31},
    ],
)
def test_a_setting_outside_its_range_is_named(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=f"^{next(iter(change))} is "):
        dataclasses.replace(AugmentationPolicy(), **change)


def test_replaying_does_not_touch_torchs_random_state() -> None:
    before = torch.get_rng_state()
    policy = AugmentationPolicy()
    policy.replay(picture(), policy.record(keyed_rng(1), 301, 223), 64)
    assert torch.equal(before, torch.get_rng_state())
