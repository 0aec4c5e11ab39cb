"""The loop learns, logs what it says it logs, and stops before damage.

Run: pytest tests/training/test_loop.py
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from toy_batches import ALONE, ToyLoader, toy_recipe

from zoo.models.image_text_model import ImageTextModel
from zoo.models.load import load_model
from zoo.training.loop import train
from zoo.training.metrics.progress import Progress
from zoo.training.recipes.recipe import Recipe
from zoo.training.run import build_model

RECORD_KEYS = {
    "step",
    "samples_seen",
    "loss",
    "learning_rate",
    "samples_per_second",
    "data_wait_fraction",
    "logit_scale",
    "elapsed_seconds",
    "gradient_norm",
}


class PoisonedLoader(ToyLoader):
    """Teacher embeddings of the third batch are not numbers."""

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        for batch in super().__iter__():
            if self.position == 3:
                batch["teacher_image.one"] = batch["teacher_image.one"] * float("nan")
            yield batch


class EmptyLoader(ToyLoader):
    """Shards with fewer samples than a batch."""

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        return iter(())


def run(recipe: Recipe, loader: ToyLoader | None = None, **callbacks: Any) -> list[dict[str, Any]]:
    """Train and return the lines of metrics.jsonl."""
    loader = loader or ToyLoader(recipe)
    result = train(recipe, model=build_model(recipe), loader=loader, world=ALONE, **callbacks)
    return [json.loads(line) for line in result.metrics.read_text().splitlines()]


@pytest.mark.parametrize("task", ["contrastive", "reinforced"])
def test_the_loss_falls_on_pictures_that_can_be_learnt(task: str, tmp_path: Path) -> None:
    recipe = toy_recipe(tmp_path, task=task, distillation_weight=0.5, samples_seen=240)
    lines = run(recipe)
    assert [line["step"] for line in lines] == list(range(1, 31))
    assert [line["samples_seen"] for line in lines] == list(range(8, 241, 8))
    first, last = (
        sum(line["contrastive_loss"] for line in part) for part in (lines[:5], lines[-5:])
    )
    assert last < 0.7 * first


def test_each_line_has_the_promised_keys_and_adds_up(tmp_path: Path) -> None:
    recipe = toy_recipe(tmp_path, task="reinforced", distillation_weight=0.5, samples_seen=24)
    for line in run(recipe):
        assert line.keys() == RECORD_KEYS | {"contrastive_loss", "distillation_loss"}
        assert line["loss"] == line["contrastive_loss"] + line["distillation_loss"]
        assert 0 <= line["data_wait_fraction"] <= 1 and line["samples_per_second"] > 0


def test_lines_come_at_the_asked_interval_and_at_the_end(tmp_path: Path) -> None:
    lines = run(toy_recipe(tmp_path, samples_seen=56, log_every=3, checkpoint_every=100))
    assert [line["step"] for line in lines] == [3, 6, 7]
    # Two steps of warm-up, then a cosine over five: updates 0, 3 and 4 of it are logged.
    expected = [1e-3 * 0.5 * (1 + math.cos(math.pi * update / 5)) for update in (0, 3, 4)]
    assert [line["learning_rate"] for line in lines] == pytest.approx(expected)


def test_the_weights_of_a_run_load_as_a_model(tmp_path: Path) -> None:
    recipe = toy_recipe(tmp_path, samples_seen=24)
    model = build_model(recipe)
    result = train(recipe, model=model, loader=ToyLoader(recipe), world=ALONE)
    loaded = load_model("mobileclip-tiny", weights=result.weights, reparameterize=False)
    for name, value in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value), name
    assert not model.training and (result.steps, result.samples_seen) == (3, 24)


def test_evaluation_is_a_callback_at_checkpoints_whose_figures_are_logged(tmp_path: Path) -> None:
    asked: list[tuple[int, bool]] = []

    def evaluate(model: ImageTextModel, step: int) -> dict[str, float]:
        asked.append((step, model.training))
        return {"accuracy": step / 100}

    recipe = toy_recipe(tmp_path, samples_seen=48, checkpoint_every=4)
    lines = run(recipe, on_evaluate=evaluate)
    assert asked == [(4, False), (6, False)]
    assert {line["step"]: line.get("eval.accuracy") for line in lines if line["step"] > 3} == {
        4: 0.04,
        5: None,
        6: 0.06,
    }


def test_progress_tells_the_time_that_is_left(tmp_path: Path) -> None:
    seen: list[Progress] = []
    run(toy_recipe(tmp_path, samples_seen=32), on_progress=seen.append)
    assert [(progress.step, progress.steps) for progress in seen] == [(i, 4) for i in range(1, 5)]
    assert seen[0].eta_seconds == pytest.approx(24 / seen[0].samples_per_second)
    assert seen[-1].eta_seconds == 0


def test_a_loss_that_is_not_finite_stops_before_the_optimizer_moves(tmp_path: Path) -> None:
    recipe = toy_recipe(tmp_path, task="reinforced", distillation_weight=0.5)
    model = build_model(recipe)
    after_two_steps: dict[str, Tensor] = {}

    def remember(progress: Progress) -> None:
        if progress.step == 2:
            after_two_steps.update({n: p.detach().clone() for n, p in model.named_parameters()})

    with pytest.raises(ValueError, match=r"Step 3: the distillation_loss is nan"):
        train(recipe, model=model, loader=PoisonedLoader(recipe), world=ALONE, on_progress=remember)
    assert len(after_two_steps) == len(list(model.parameters()))
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, after_two_steps[name]), name


def test_a_gradient_that_is_not_finite_stops_before_the_optimizer_moves(tmp_path: Path) -> None:
    recipe = toy_recipe(tmp_path)
    model = build_model(recipe)
    before = model.text_encoder.get_parameter("projection").detach().clone()
    model.logit_scale.register_hook(lambda gradient: gradient * float("inf"))
    with pytest.raises(ValueError, match=r"Step 1: the norm of the gradient is (inf|nan)"):
        train(recipe, model=model, loader=ToyLoader(recipe), world=ALONE)
    assert torch.equal(model.text_encoder.get_parameter("projection"), before)


def test_a_run_folder_in_use_is_not_overwritten(tmp_path: Path) -> None:
    recipe = toy_recipe(tmp_path, samples_seen=24)
    run(recipe)
    before = (tmp_path / "metrics.jsonl").read_bytes()
    with pytest.raises(ValueError, match="already holds a run; resume it"):
        run(recipe)
    assert (tmp_path / "metrics.jsonl").read_bytes() == before


def test_a_loader_without_batches_says_so(tmp_path: Path) -> None:
    recipe = toy_recipe(tmp_path)
    with pytest.raises(ValueError, match="yields no batch"):
        run(recipe, EmptyLoader(recipe))


def test_the_seed_decides_the_initial_weights(tmp_path: Path) -> None:
    first, again, other = (
        build_model(toy_recipe(tmp_path, seed=seed)).text_encoder.get_parameter("projection")
        for seed in (1, 1, 2)
    )
    assert torch.equal(first, again) and not torch.equal(first, other)
