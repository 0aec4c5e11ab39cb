"""Runs of SAM-CLIP's stages: they learn, resume bit for bit and are shared by processes.

Run: pytest tests/training/sam_clip/test_sam_clip_run.py
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from task_runs import Interrupted, read_metrics
from toy_prompts import pictures, prompts, run, sam_clip_recipe, toy_streams, train_in_turn

from zoo.training.parallel.launch import run_in_processes
from zoo.training.recipes.registry import RECIPES


@pytest.mark.parametrize("train", ["head", "all", "masks"])
def test_every_kind_of_stage_learns(train: str, tmp_path: Path) -> None:
    recipe = sam_clip_recipe(tmp_path, train, samples_seen=60, learning_rate=3e-3)
    assert recipe.sam_clip is not None
    recipe = replace(recipe, sam_clip=replace(recipe.sam_clip, learning_rate_scale=1.0))
    run(recipe)
    lines = read_metrics(tmp_path)
    for name in ("clip_loss", "mask_loss"):
        losses = [line[name] for line in lines if name in line]
        assert not losses or sum(losses[-5:]) < 0.9 * sum(losses[:5]), name
    assert ("clip_loss" in lines[0]) == (train != "masks")
    assert ("mask_iou" in lines[0]) == (train != "head")


@pytest.mark.usefixtures("one_thread")
def test_an_interrupted_run_equals_an_undisturbed_one(tmp_path: Path) -> None:
    recipe = sam_clip_recipe(tmp_path / "whole", samples_seen=28)
    whole = load_file(run(recipe))
    parts = replace(recipe, output=tmp_path / "parts")
    with pytest.raises(Interrupted):
        run(parts, stop_after=5)
    again = load_file(run(parts, resume=True))
    assert read_metrics(parts.output) == read_metrics(recipe.output)
    assert all(torch.equal(whole[name], again[name]) for name in whole)


def test_two_streams_go_on_side_by_side_whatever_their_lengths(tmp_path: Path) -> None:
    recipe = sam_clip_recipe(tmp_path)
    streams = toy_streams(recipe)
    passes = [list(streams) for _ in range(2)]
    assert [len(one) for one in passes] == [3, 3]
    for number, batch in enumerate(passes[0] + passes[1]):
        side = (32, 48)[number % 2]
        expected = pictures(number, 4, side) | prompts(number, 2)
        assert batch.keys() == expected.keys()
        assert all(torch.equal(batch[key], value) for key, value in expected.items())


def test_a_state_of_two_streams_leads_on_to_the_very_next_pair(tmp_path: Path) -> None:
    recipe = sam_clip_recipe(tmp_path)
    streams, again = toy_streams(recipe), toy_streams(recipe)
    batches = iter(streams)
    next(batches)
    again.load_state_dict(streams.state_dict())
    expected, found = next(batches), next(iter(again))
    assert all(torch.equal(found[key], value) for key, value in expected.items())


COMMON: dict[str, Any] = {"samples_seen": 12, "batch_size": 4}
ALONE_VARIANTS = {part: (part, COMMON) for part in ("head", "all", "masks")}
SHARED = ALONE_VARIANTS | {
    "fsdp": ("all", COMMON | {"parallel": "fsdp", "activation_checkpointing": True})
}


@pytest.mark.slow
def test_two_processes_train_as_one_does(tmp_path: Path) -> None:
    one = train_in_turn(tmp_path / "one", ALONE_VARIANTS)
    two, other = run_in_processes(train_in_turn, 2, tmp_path / "two", SHARED)
    assert all(not lines for lines in other.values())
    for name, lines in two.items():
        alone = one["all" if name == "fsdp" else name]
        assert len(lines) == len(alone) == 3
        for a, b in zip(alone, lines, strict=True):
            assert b["loss"] == pytest.approx(a["loss"], rel=1e-4), name
            assert b["gradient_norm"] == pytest.approx(a["gradient_norm"], rel=1e-3), name
            assert b.get("mask_iou", 0) == pytest.approx(a.get("mask_iou", 0), rel=1e-3), name


def test_the_papers_stages_follow_each_other_with_its_numbers() -> None:
    one, two, three = (RECIPES[f"sam-clip-stage{stage}"]() for stage in (1, 2, 3))
    assert [recipe.samples_seen // 40_600_000 for recipe in (one, two, three)] == [20, 16, 3]
    assert [recipe.learning_rate for recipe in (one, two, three)] == [8e-4, 4e-5, 8e-4]
    settings = [recipe.sam_clip for recipe in (one, two, three)]
    assert [one.train for one in settings if one] == ["head", "all", "head"]
    assert [max(one.image_sizes) for one in settings if one] == [448, 448, 1024]
    assert two.init == one.output / "weights.safetensors"
    assert three.init == two.output / "weights.safetensors"
