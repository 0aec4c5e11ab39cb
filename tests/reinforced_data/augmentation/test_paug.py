"""Apple's recorded augmentations replay to the pixels of Apple's own replay.

The reference is built here from torchvision's calls, as ml-mobileclip's `training/dr` does.

.venv/bin/pytest tests/reinforced_data/augmentation/test_paug.py
"""

import dataclasses
import json
import random
from typing import Any

import numpy as np
import pytest
import torch
from pictures import picture
from PIL import Image
from torchvision.transforms import InterpolationMode, RandAugment, RandomResizedCrop, autoaugment
from torchvision.transforms import functional as F

from zoo.reinforced_data.augmentation.paug import APPLE_POLICY, format_paug, parse_paug
from zoo.reinforced_data.augmentation.policy import AugmentationPolicy
from zoo.reinforced_data.augmentation.randaugment import RANDAUGMENT_OPS
from zoo.reinforced_data.randomness import keyed_rng

SIZE = 224
NAMES = [op.name for op in RANDAUGMENT_OPS]


def apple_magnitude(name: str, level: int) -> tuple[float, bool]:
    """The float32 magnitude that torchvision draws at 224, and whether it has a sign."""
    magnitudes, signed = RandAugment()._augmentation_space(31, (SIZE, SIZE))[name]
    return (float(magnitudes[level].item()) if magnitudes.ndim else 0.0), signed


def drawn_by_apple(image: Image.Image, draw: random.Random) -> list[Any]:
    box = RandomResizedCrop.get_params(image, scale=[0.08, 1.0], ratio=[3 / 4, 4 / 3])  # type: ignore
    ops = []
    for _ in range(2):
        index = draw.randrange(len(NAMES))
        magnitude, signed = apple_magnitude(NAMES[index], 9)
        ops.append([index, -magnitude if signed and draw.random() < 0.5 else magnitude])
    return [list(box), ops]


def replayed_by_apple(image: Image.Image, entry: list[Any]) -> Image.Image:
    image = F.resized_crop(image, *entry[0], [SIZE, SIZE], InterpolationMode.BICUBIC)  # type: ignore
    for index, magnitude in entry[1]:
        image = autoaugment._apply_op(  # type: ignore[assignment]
            image,  # type: ignore[arg-type]
            NAMES[index],
            magnitude,
            InterpolationMode.NEAREST,
            None,
        )
    return image


def paug(*entries: Any) -> str:
    return json.dumps({"param_aug": list(entries)})


def test_hundreds_of_draws_replay_to_apples_pixels() -> None:
    torch.manual_seed(0)
    draw = random.Random(0)
    for trial in range(60):
        image = picture(draw.randrange(20, 500), draw.randrange(20, 500), seed=trial)
        entries = [drawn_by_apple(image, draw) for _ in range(4)]
        table = parse_paug(paug(*entries), *image.size)
        assert table.dtype == np.float32 and table.shape == (4, len(APPLE_POLICY.columns))
        for entry, params in zip(entries, table, strict=True):
            expected = replayed_by_apple(image, entry)
            assert APPLE_POLICY.replay(image, params, SIZE).tobytes() == expected.tobytes()


@pytest.mark.parametrize("name", NAMES)
def test_every_operation_at_every_level_replays_to_apples_pixels(name: str) -> None:
    image = picture(260, 240)
    for level in (0, 1, 4, 9, 14, 22, 30):
        magnitude, signed = apple_magnitude(name, level)
        for sign in (1, -1) if signed else (1,):
            entry = [[3, 5, 230, 250], [[NAMES.index(name), sign * magnitude], [0, 0.0]]]
            (params,) = parse_paug(paug(entry), *image.size)
            expected = replayed_by_apple(image, entry)
            assert APPLE_POLICY.replay(image, params, SIZE).tobytes() == expected.tobytes()


def test_crops_of_pictures_up_to_32k_pixels_keep_every_pixel() -> None:
    draw = random.Random(1)
    for _ in range(3000):
        width, height = draw.randint(1, 32_768), draw.randint(1, 32_768)
        box = [draw.randrange(height), draw.randrange(width)]
        box += [draw.randint(1, height - box[0]), draw.randint(1, width - box[1])]
        table = parse_paug(paug([box, [[0, 0.0], [0, 0.0]]]), width, height)
        assert format_paug(table, width, height)["param_aug"][0][0] == box


def test_param_aug_may_be_a_string_of_json() -> None:
    entries = [[[0, 0, 10, 20], [[1, 0.09], [13, 0.0]]]]
    as_string = json.dumps({"param_aug": json.dumps(entries)})
    assert (parse_paug(as_string.encode(), 30, 30) == parse_paug(paug(*entries), 30, 30)).all()


@pytest.mark.parametrize("entry", [[[0, 0, 10, 20]], [[0, 0, 10, 20], None]])
def test_randaugment_that_was_skipped_stays_skipped(entry: list[Any]) -> None:
    (params,) = parse_paug(paug(entry), 30, 30)
    image = picture(30, 30)
    expected = replayed_by_apple(image, [entry[0], []])
    assert APPLE_POLICY.replay(image, params, SIZE).tobytes() == expected.tobytes()


def test_a_translation_covers_the_same_part_of_a_larger_view() -> None:
    (params,) = parse_paug(paug([[0, 0, 30, 30], [[3, 30.45317268371582], [0, 0.0]]]), 30, 30)
    moved = np.asarray(APPLE_POLICY.replay(Image.new("RGB", (30, 30), "white"), params, 448))
    assert (moved[:, :60] == 0).all() and (moved[:, 60:] == 255).all()


@pytest.mark.parametrize(
    "policy",
    [
        APPLE_POLICY,
        AugmentationPolicy(flip_probability=0.5, erase_probability=0.5, op_probability=0.5),
        AugmentationPolicy(num_ops=0, erase_probability=0.5),
        AugmentationPolicy(num_ops=3, flip_probability=0.5),
    ],
)
def test_what_is_formatted_is_parsed_to_the_same_views(policy: AugmentationPolicy) -> None:
    records = np.stack([policy.record(keyed_rng("r", i), 640, 427) for i in range(200)])
    text = json.dumps(format_paug(records, 640, 427, policy))
    again = parse_paug(text, 640, 427, policy)
    boxes = 4 if policy.erase_probability else 0
    assert (
        again[:, : len(policy.columns) - boxes] == records[:, : len(policy.columns) - boxes]
    ).all()
    image = picture(640, 427)
    for before, after in zip(records[:5], again[:5], strict=True):
        views = (policy.replay(image, params, SIZE).tobytes() for params in (before, after))
        assert len(set(views)) == 1


def test_members_stand_in_apples_order() -> None:
    policy = dataclasses.replace(APPLE_POLICY, flip_probability=0.5, erase_probability=0.5)
    entry = [[1, 2, 10, 20], True, [[6, 0.25], [11, 178.5]], [56, 112, 28, 7]]
    table = parse_paug(paug(entry), 40, 40, policy)
    left, top, width, height = 2 / 40, 1 / 40, 20 / 40, 10 / 40
    erased = (112 / 224, 56 / 224, 7 / 224, 28 / 224)
    expected = [left, top, width, height, 1, 6, 0.25, 11, 178.5, *erased]
    assert table.tolist() == np.array([expected], np.float32).tolist()
    assert format_paug(table, 40, 40, policy) == {"param_aug": [entry]}


WHOLE = [0, 0, 30, 30]
NO_OPS = [[0, 0.0], [0, 0.0]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"\xff\xfe\x00", "not JSON"),
        ("", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("{}", "'param_aug'"),
        ("3", "'param_aug'"),
        ('{"param_aug": "nothing"}', "not JSON"),
        ('{"param_aug": []}', "at least one augmentation"),
        ('{"param_aug": {"a": 1}}', "at least one augmentation"),
        (paug([WHOLE, NO_OPS], 7), "Augmentation 1 is 7"),
        (paug([]), "records crop, RandAugment"),
        (paug([WHOLE, True, NO_OPS]), "records crop, RandAugment"),
        (paug([[0, 0, 30], NO_OPS]), "not enough values"),
        (paug([[0, 0, 31, 30], NO_OPS]), "does not lie in a picture of 30×30 pixels"),
        (paug([[-1, 0, 10, 10], NO_OPS]), "does not lie"),
        (paug([[0, 0, 0, 10], NO_OPS]), "does not lie"),
        ('{"param_aug": [[[0, 0, Infinity, 10]]]}', "Augmentation 0 is"),
        (paug([WHOLE, [[1, 0.09]]]), "1 operations instead of 2"),
        (paug([WHOLE, [[14, 0.0], [0, 0.0]]]), "operation 14 is not an index of 0…13"),
        (paug([WHOLE, [["Rotate", 9.0], [0, 0.0]]]), "operation 'Rotate' is not an index"),
        (paug([WHOLE, [[10, 9], [0, 0.0]]]), "magnitude 9 of Posterize is impossible"),
        ('{"param_aug": [[[0, 0, 9, 9], [[1, NaN], [0, 0.0]]]]}', "magnitude nan of ShearX"),
        (paug([WHOLE, [[1, "0.1"], [0, 0.0]]]), "Augmentation 0 is"),
        (paug([WHOLE, 5]), "Augmentation 0 is"),
    ],
)
def test_other_content_is_refused_in_a_sentence(text: str | bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_paug(text, 30, 30)
