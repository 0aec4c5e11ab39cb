"""Tiny world is deterministic, keeps its split, and its masks and samples show its scenes.

Run: .venv/bin/pytest tests/reinforced_data/tiny_world/test_tiny_world.py
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import subprocess
import sys
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from webdataset.compat import WebDataset

from zoo.reinforced_data.shards.read import read_shard
from zoo.reinforced_data.shards.sample import Sample
from zoo.reinforced_data.shards.write import write_shards
from zoo.reinforced_data.tiny_world import (
    COLOURS,
    SHAPES,
    TEXTURES,
    Scene,
    Split,
    class_names,
    colour_shape_pairs,
    make_scene,
    render_scene,
    scene_captions,
    scene_questions,
    scene_samples,
)
from zoo.reinforced_data.tiny_world.render import OUTLINE_REACH, TONES
from zoo.reinforced_data.tiny_world.scene import RADII

SPLITS: tuple[Split, ...] = ("train", "test", "all")


def scenes(count: int = 400, split: Split = "all", seed: int = 0) -> list[Scene]:
    return [make_scene(index, seed=seed, split=split) for index in range(count)]


# Scenes and the split


def test_held_out_pairs_leave_every_colour_and_shape_to_training() -> None:
    train, test = set(colour_shape_pairs("train")), set(colour_shape_pairs("test"))
    assert (len(train), len(test)) == (48, 16)
    assert not train & test
    assert train | test == set(colour_shape_pairs("all"))
    for part in (train, test):
        assert {colour for colour, _ in part} == set(COLOURS)
        assert {shape for _, shape in part} == set(SHAPES)


def test_no_training_scene_shows_a_held_out_pair() -> None:
    held_out = set(class_names("test"))
    shown = {item.class_name for scene in scenes(2000, "train") for item in scene.objects}
    assert shown == set(class_names("train"))
    assert not shown & held_out


def test_only_the_main_object_of_a_test_scene_is_held_out() -> None:
    tests = scenes(1000, "test")
    assert {scene.main.class_name for scene in tests} == set(class_names("test"))
    others = {item.class_name for scene in tests for item in scene.objects[1:]}
    assert others == set(class_names("train"))


@pytest.mark.parametrize("split", SPLITS)
def test_the_main_object_stands_out(split: Split) -> None:
    for scene in scenes(split=split):
        names = [item.class_name for item in scene.objects]
        assert len(set(names)) == len(names)
        if len(names) > 1:
            assert [item.size for item in scene.objects] == ["large"] + ["small"] * (len(names) - 1)


def test_scenes_use_everything_there_is() -> None:
    items = [item for scene in scenes() for item in scene.objects]
    assert {len(scene.objects) for scene in scenes()} == {1, 2, 3}
    assert {item.texture for item in items} == set(TEXTURES)
    assert len({(item.row, item.column) for item in items}) == 9
    assert len({item.position for item in items}) == 9


# Determinism


def fingerprint() -> str:
    content = hashlib.sha256()
    for sample in scene_samples(5, seed=7, split="train", caption_noise=0.5):
        content.update(repr(sample).encode())
    return content.hexdigest()


def test_another_process_makes_the_same_bytes() -> None:
    code = "import runpy, sys; print(runpy.run_path(sys.argv[1])['fingerprint']())"
    run = [sys.executable, "-c", code, __file__]
    other = subprocess.run(run, env={"PYTHONHASHSEED": "3"}, capture_output=True, check=True)
    assert other.stdout.decode().strip() == fingerprint()


def test_a_scene_depends_on_no_other() -> None:
    long = list(scene_samples(6, seed=1, caption_noise=0.3))
    assert list(scene_samples(3, seed=1, caption_noise=0.3)) == long[:3]
    scene = make_scene(5, seed=1, split="train")
    assert scene_captions(scene, 3, caption_noise=0.3) == long[5].captions


def test_seed_split_and_index_each_change_the_scene() -> None:
    scene = make_scene(3, seed=0, split="train")
    others = [
        make_scene(3, seed=1, split="train"),
        make_scene(3, seed=0, split="all"),
        make_scene(4, seed=0, split="train"),
    ]
    assert all(other.objects != scene.objects for other in others)


# Pictures and masks


@pytest.mark.parametrize("image_size", [32, 64, 101])
def test_the_mask_covers_each_object_and_nothing_else(image_size: int) -> None:
    steps = (np.arange(image_size) + 0.5) / image_size
    for scene in scenes(60):
        image, mask = render_scene(scene, image_size=image_size)
        assert image.shape == (image_size, image_size, 3)
        assert image.dtype == mask.dtype == np.uint8
        assert set(np.unique(mask)) == set(range(len(scene.objects) + 1))
        for number, item in enumerate(scene.objects, start=1):
            rows, columns = np.nonzero(mask == number)
            x, y = item.centre
            distances = np.hypot(steps[columns] - x, steps[rows] - y)
            assert distances.max() <= OUTLINE_REACH * item.radius
            assert distances.max() > 0.8 * item.radius - 1 / image_size


def test_objects_keep_apart() -> None:
    for scene in scenes(1000):
        for one, other in combinations(scene.objects, 2):
            assert math.dist(one.centre, other.centre) > OUTLINE_REACH * (one.radius + other.radius)


def test_no_object_hides_another() -> None:
    for scene in scenes(200):
        _, together = render_scene(scene)
        for number, item in enumerate(scene.objects, start=1):
            _, alone = render_scene(replace(scene, objects=(item,)))
            assert np.array_equal(together == number, alone == 1)


def test_solid_objects_have_their_colour() -> None:
    for scene in scenes(200):
        image, mask = render_scene(scene)
        for number, item in enumerate(scene.objects, start=1):
            seen = np.median(image[mask == number], axis=0)
            if item.texture == "solid":
                assert np.abs(seen - TONES[item.colour][0]).max() < 30


def test_a_texture_shows_two_tones() -> None:
    def spread(texture: str) -> float:
        item = replace(make_scene(0, seed=0).main, texture=texture, shape="circle", size="small")
        item = replace(item, radius=RADII["small"][0], colour="blue", centre=(0.5, 0.5))
        image, mask = render_scene(Scene(seed=0, split="all", index=0, objects=(item,)))
        return float(image[mask == 1].std(axis=0).max())

    spreads = {texture: spread(texture) for texture in TEXTURES}
    assert all(spreads[texture] > 2 * spreads["solid"] for texture in TEXTURES[1:])


def test_sizes_show_the_same_scene() -> None:
    for scene in scenes(30):
        _, small = render_scene(scene, image_size=64)
        _, large = render_scene(scene, image_size=192)
        assert (small == large[1::3, 1::3]).mean() > 0.995


# Samples


def decode(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)))


def test_a_sample_holds_its_scene() -> None:
    for index, sample in enumerate(scene_samples(10, seed=2, split="test", image_size=48)):
        scene = make_scene(index, seed=2, split="test")
        image, mask = render_scene(scene, image_size=48)
        assert np.array_equal(decode(sample.image), image)
        assert np.array_equal(decode(sample.extra["mask.png"]), mask)
        assert sample.label is not None
        assert class_names()[sample.label] == scene.main.class_name
        description = json.loads(sample.extra["json"])
        assert [one["shape"] for one in description["objects"]] == [o.shape for o in scene.objects]
        assert [one["position"] for one in description["objects"]] == [
            o.position for o in scene.objects
        ]
        assert len(description["questions"]) == len(scene_questions(scene))


@pytest.fixture
def shard(tmp_path: Path) -> tuple[Path, list[Sample]]:
    samples = list(scene_samples(12, seed=3, split="train"))
    return write_shards(samples, tmp_path)[0], samples


def test_scenes_survive_a_shard(shard: tuple[Path, list[Sample]]) -> None:
    path, samples = shard
    assert list(read_shard(path)) == samples


def test_plain_webdataset_reads_the_scenes(shard: tuple[Path, list[Sample]]) -> None:
    path, samples = shard
    for record, sample in zip(WebDataset(str(path), shardshuffle=False), samples, strict=True):
        assert record["__key__"] == sample.key
        assert record["png"] == sample.image
        assert record["mask.png"] == sample.extra["mask.png"]
        assert record["json"] == sample.extra["json"]
        assert tuple(record["txt"].decode().split("\n")) == sample.captions


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"count": 0}, "count is 0"),
        ({"captions_per_scene": 0}, "captions_per_scene 0"),
        ({"caption_noise": 1.5}, "caption_noise is 1.5"),
        ({"image_size": 4}, "image size is 4"),
        ({"split": "validation"}, "'validation'"),
    ],
)
def test_impossible_values_are_one_clear_error(arguments: dict[str, Any], problem: str) -> None:
    valid: dict[str, Any] = {"count": 1, "seed": 0}
    with pytest.raises(ValueError, match=problem):
        list(scene_samples(**(valid | arguments)))


def test_a_negative_index_is_refused() -> None:
    with pytest.raises(ValueError, match="scene index is -1"):
        make_scene(-1, seed=0)
