"""A recipe trains on real shards and sidecars, and resumes on them with another worker count.

Run: pytest tests/training/test_run.py
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from task_runs import Interrupted, read_metrics, run
from tiny_shards import make_samples, random_teacher
from toy_batches import losses_of, toy_recipe

from zoo.reinforced_data.augmentation.policy import AugmentationPolicy
from zoo.reinforced_data.curation.subset import write_subset
from zoo.reinforced_data.engine.captioners.retrieval import RetrievalCaptioner
from zoo.reinforced_data.engine.reinforce import reinforce
from zoo.reinforced_data.shards.write import write_shards
from zoo.training.run import build_loader, build_model
from zoo.training.tasks.reinforced import ReinforcedTask


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eleven pictures in two shards, reinforced by one teacher."""
    folder = tmp_path_factory.mktemp("shards")
    write_shards(make_samples(), folder, samples_per_shard=6)
    teacher = random_teacher("tiny", 0)
    captioner = RetrievalCaptioner(teacher, [f"a {word}" for word in ("cat", "dog", "car", "sea")])
    reinforce(folder, teachers=[teacher], captioner=captioner, augmentations=2, captions=1)
    return folder


@pytest.mark.parametrize("task", ["contrastive", "reinforced"])
def test_a_run_on_shards_resumes_exactly_in_the_middle_of_a_pass(
    task: str, shards: Path, tmp_path: Path
) -> None:
    changes = {"data": str(shards), "task": task, "batch_size": 4, "samples_seen": 32}
    recipe = toy_recipe(tmp_path / "whole", checkpoint_every=3, **changes)
    run(recipe)
    parts = replace(recipe, output=tmp_path / "parts")
    with pytest.raises(Interrupted):
        run(parts, stop_after=5)  # two batches a pass, checkpoint after the third
    run(replace(parts, workers=1), resume=True)
    assert read_metrics(tmp_path / "parts") == read_metrics(tmp_path / "whole")
    assert len(read_metrics(tmp_path / "whole")) == 8


def test_the_loader_gives_the_reinforced_task_what_it_needs(shards: Path, tmp_path: Path) -> None:
    recipe = toy_recipe(tmp_path, data=str(shards), task="reinforced", batch_size=4)
    model = build_model(recipe)
    loader = build_loader(recipe, model)
    scales = {name: teacher.logit_scale for name, teacher in loader.teachers.items()}
    task = ReinforcedTask(model, teacher_logit_scales=scales, distillation_weight=0.5)
    losses = losses_of(task, next(iter(loader)))
    assert losses.keys() == {"contrastive_loss", "distillation_loss"}
    assert all(loss.isfinite() for loss in losses.values())


def test_mixed_captions_and_fast_pixels_train(shards: Path, tmp_path: Path) -> None:
    changes: dict[str, Any] = {"synthetic_ratio": 0.5, "pixels": "fast", "samples_seen": 8}
    recipe = toy_recipe(
        tmp_path, data=str(shards), task="reinforced", batch_size=4, warmup_samples=0, **changes
    )
    model = build_model(recipe)
    batch = next(iter(build_loader(recipe, model)))
    assert batch.keys() == {"image", "text", "teacher_image.tiny", "teacher_text.tiny"}
    run(recipe)
    assert len(read_metrics(tmp_path)) == 2


def test_a_subset_and_sidecars_elsewhere_reach_the_loader(shards: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "sidecars"
    elsewhere.mkdir()
    pictures = tmp_path / "pictures"
    shutil.copytree(shards, pictures)
    for sidecar in pictures.glob("*.safetensors"):
        sidecar.rename(elsewhere / sidecar.name)
    subset = tmp_path / "some.subset.safetensors"
    kept = {"00000.tar": (["photo001", "photo004"], np.array([1, 2.0], np.float32))}
    write_subset(subset, kept | {"00001.tar": ([], np.empty(0, np.float32))}, {})
    recipe = toy_recipe(
        tmp_path / "run",
        data=str(pictures),
        task="reinforced",
        sidecars=str(elsewhere),
        subset=subset,
        batch_size=3,
    )
    assert build_loader(recipe, build_model(recipe)).samples == 3


def test_plain_training_draws_from_the_augmentation_of_its_recipe(
    shards: Path, tmp_path: Path
) -> None:
    whole = AugmentationPolicy(scale=(1.0, 1.0), ratio=(1.0, 1.0), num_ops=0)
    changes = {"data": str(shards), "batch_size": 4}
    strong = toy_recipe(tmp_path, **changes)
    gentle = toy_recipe(tmp_path, augmentation=whole, **changes)
    model = build_model(strong)
    cropped, uncropped = (
        next(iter(build_loader(recipe, model)))["image"] for recipe in (strong, gentle)
    )
    again = next(iter(build_loader(replace(gentle, seed=gentle.seed), model)))["image"]
    assert not torch.equal(cropped, uncropped)
    assert torch.equal(again, uncropped)


def test_channels_last_changes_the_order_in_memory_and_no_value(tmp_path: Path) -> None:
    plain = build_model(toy_recipe(tmp_path))
    ordered = build_model(toy_recipe(tmp_path, channels_last=True))
    name = "image_encoder.stem.0.conv_kxk.0.conv.weight"
    weight = ordered.get_parameter(name)
    assert weight.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(weight, plain.get_parameter(name))
