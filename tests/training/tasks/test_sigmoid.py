"""SigLIP: every pair is a yes-or-no question, and the bias is the task's own.

Run: pytest tests/training/tasks/test_sigmoid.py
"""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from task_runs import parameters_without_gradient, read_metrics, run, run_with_interruption
from torch import Tensor
from toy_batches import losses_of, toy_batch, toy_recipe

from zoo.models.image_text_model import ImageTextModel
from zoo.models.load import load_model
from zoo.training.checkpoints.folders import checkpoints
from zoo.training.recipes.recipe import Recipe
from zoo.training.tasks.sigmoid import SigmoidTask

SHORT: dict[str, Any] = {"samples_seen": 64, "checkpoint_every": 3, "learning_rate": 2e-3}


@pytest.fixture(scope="module")
def batch() -> dict[str, Tensor]:
    return {key: value for key, value in toy_batch(seed=0, size=6).items() if "_" not in key}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    """A run of 8 steps, done."""
    recipe = toy_recipe(tmp_path_factory.mktemp("whole"), task="sigmoid", **SHORT)
    run(recipe)
    return recipe


def test_the_loss_is_the_paper_s(model: ImageTextModel, batch: dict[str, Tensor]) -> None:
    task = SigmoidTask(model).eval()
    with torch.no_grad():
        task.logit_bias.fill_(-3.0)
        model.logit_scale.fill_(math.log(20.0))
        features = task(batch)
        loss = losses_of(task, batch)["sigmoid_loss"].item()
    image, text = (features[key].double().numpy() for key in ("image", "text"))
    expected = 0.0
    for i in range(6):
        for j in range(6):
            sign = 1 if i == j else -1
            logit = 20.0 * float(image[i] @ text[j]) - 3.0
            expected += np.log1p(np.exp(-sign * logit)) / 6
    assert loss == pytest.approx(expected, rel=1e-5)


def test_scale_and_bias_begin_as_in_the_paper(model: ImageTextModel) -> None:
    gauges = SigmoidTask(model).gauges()
    assert gauges == {"logit_scale": pytest.approx(10), "logit_bias": -10}


def test_every_parameter_gets_a_gradient(model: ImageTextModel, batch: dict[str, Tensor]) -> None:
    task = SigmoidTask(model)
    assert "logit_bias" in dict(task.named_parameters())
    assert not parameters_without_gradient(task, batch)


def test_a_run_learns_and_its_weights_are_an_ordinary_model(whole: Recipe) -> None:
    losses = [line["loss"] for line in read_metrics(whole.output)]
    assert losses[-1] < 0.9 * losses[0]
    load_model("mobileclip-tiny", weights=whole.output / "weights.safetensors")


def test_an_interrupted_run_continues_exactly_with_its_bias(whole: Recipe, tmp_path: Path) -> None:
    run_with_interruption(replace(whole, output=tmp_path / "run"), stop_after=5)
    assert read_metrics(tmp_path / "run") == read_metrics(whole.output)
    saved = load_file(checkpoints(whole.output)[-1] / "task.safetensors")
    assert read_metrics(whole.output)[-1]["logit_bias"] == saved["logit_bias"].item() != -10
