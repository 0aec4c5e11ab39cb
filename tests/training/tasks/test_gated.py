"""ALIP: captions that disagree with each other, and pairs that do not fit, count less.

Run: pytest tests/training/tasks/test_gated.py
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shared_objectives
import torch
from gloo_processes import run_together
from numpy_losses import clip_loss, clip_row_losses
from safetensors.torch import load_file
from task_runs import parameters_without_gradient, read_metrics, run, run_with_interruption
from torch import Tensor
from toy_batches import toy_batch, toy_recipe

from zoo.models.image_text_model import ImageTextModel
from zoo.models.load import load_model
from zoo.training.checkpoints.folders import checkpoints
from zoo.training.recipes.recipe import Recipe
from zoo.training.tasks.gated import GatedTask

KEYS = ("image", "text", "synthetic_text")
SHORT: dict[str, Any] = {"samples_seen": 64, "checkpoint_every": 3, "learning_rate": 2e-3}


@pytest.fixture(scope="module")
def batch() -> dict[str, Tensor]:
    return {key: value for key, value in toy_batch(seed=0, size=6).items() if key in KEYS}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    """A run of 8 steps, done."""
    recipe = toy_recipe(tmp_path_factory.mktemp("whole"), task="gated", **SHORT)
    run(recipe)
    return recipe


def drawn_features(seed: int) -> dict[str, Tensor]:
    """Return features that agree more or less from sample to sample."""
    rng = np.random.default_rng(seed)
    common, own = rng.normal(size=(12, 8)), rng.normal(size=(3, 12, 8))
    agreement = rng.uniform(0, 3, size=(3, 12, 1))
    vectors = own + agreement * common
    vectors /= np.linalg.norm(vectors, axis=-1, keepdims=True)
    rows = dict(zip(KEYS, torch.from_numpy(vectors), strict=True))
    return rows | {"logit_scale": torch.tensor(14.0, dtype=torch.float64)}


def precise(task: GatedTask) -> GatedTask:
    task.running_means = task.running_means.double()
    return task


def test_losses_and_running_means_are_the_paper_s(model: ImageTextModel) -> None:
    task = precise(GatedTask(model))
    language, description, synthetic_description = 1.0, 1.0, 1.0
    full = 0
    for step in range(60):
        features = drawn_features(step)
        image, raw, synthetic = (features[key].numpy() for key in KEYS)
        s_texts, s_raw, s_synthetic = (
            (one * other).sum(axis=1)
            for one, other in ((raw, synthetic), (image, raw), (image, synthetic))
        )
        language = 0.99 * language + 0.01 * s_texts.mean()
        description = 0.99 * description + 0.01 * s_raw.mean()
        synthetic_description = 0.99 * synthetic_description + 0.01 * s_synthetic.mean()
        sample = np.minimum(1, np.exp(s_texts - language) ** 2)
        pair = np.where(sample < 1, np.exp(s_raw - description) ** 2, 1)
        synthetic_pair = np.where(sample < 1, np.exp(s_synthetic - synthetic_description) ** 2, 1)
        expected = (sample * pair * clip_row_losses(image, raw, 14.0)).mean()
        taught = (sample * synthetic_pair * clip_row_losses(image, synthetic, 14.0)).mean()

        full += int((sample == 1).sum())

        losses = task.losses(features, {})
        assert losses["contrastive_loss"].item() == pytest.approx(expected)
        assert losses["synthetic_loss"].item() == pytest.approx(taught)
        task.after_step()
    means = [language, description, synthetic_description]
    assert task.running_means.tolist() == pytest.approx(means)
    assert 0 < full < 60 * 12  # samples of both kinds took part


def test_the_losses_alone_do_not_move_the_running_means(
    model: ImageTextModel, batch: dict[str, Tensor]
) -> None:
    task = GatedTask(model)
    features = task(batch)
    first, second = (task.losses(features, batch)["synthetic_loss"].item() for _ in range(2))
    assert first == second
    assert task.running_means.tolist() == [1, 1, 1]
    task.after_step()
    assert (task.running_means < 1).all()


def test_samples_that_agree_better_than_usual_count_in_full(model: ImageTextModel) -> None:
    task = precise(GatedTask(model))
    task.running_means.fill_(-1.0)
    features = drawn_features(0)
    losses = task.losses(features, {})
    plain = clip_loss(features["image"], features["text"], 14.0)
    assert losses["contrastive_loss"].item() == pytest.approx(plain)


def test_no_gradient_goes_through_a_gate(model: ImageTextModel) -> None:
    task = precise(GatedTask(model))
    task.running_means.fill_(2.0)
    features = drawn_features(0)
    for key in KEYS:
        features[key].requires_grad_()
    task.losses(features, {})["contrastive_loss"].backward()
    assert features["synthetic_text"].grad is None  # it only gates this loss


def test_every_parameter_gets_a_gradient(model: ImageTextModel, batch: dict[str, Tensor]) -> None:
    assert not parameters_without_gradient(GatedTask(model), batch)


def test_two_processes_agree_with_one_in_value_and_gradient(tmp_path: Path) -> None:
    """Of the tasks here that gather by themselves: this one and captioning."""
    whole = shared_objectives.results(group=None)
    parts = run_together("shared_objectives:in_every_process", 2, tmp_path)
    for task in ("gated", "captioning"):
        value, *gradients = whole[task]
        values, *shares = zip(*(part[task] for part in parts), strict=True)
        close(torch.stack(values), value.expand(2))
        for share, gradient in zip(shares, gradients, strict=True):
            mean = torch.stack(share).mean(dim=0)
            close(torch.cat(share) / 2 if gradient.ndim else mean, gradient)
    for part in parts:
        close(part["running means"][0], whole["running means"][0])


def close(computed: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(computed, expected, rtol=1e-10, atol=1e-10)


def test_a_run_learns_and_its_weights_are_an_ordinary_model(whole: Recipe) -> None:
    losses = [line["loss"] for line in read_metrics(whole.output)]
    assert losses[-1] < 0.5 * losses[0]
    load_model("mobileclip-tiny", weights=whole.output / "weights.safetensors")


def test_an_interrupted_run_continues_exactly_with_its_running_means(
    whole: Recipe, tmp_path: Path
) -> None:
    run_with_interruption(replace(whole, output=tmp_path / "run"), stop_after=5)
    assert read_metrics(tmp_path / "run") == read_metrics(whole.output)
    saved = load_file(checkpoints(whole.output)[-1] / "task.safetensors")
    assert (saved["running_means"] < 1).all()
