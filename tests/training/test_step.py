"""Number formats and overflow: what a step does with each.

Run: pytest tests/training/test_step.py
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from toy_batches import ALONE, ToyLoader, toy_batch, toy_recipe

from zoo.training.checkpoints.train_state import TrainState
from zoo.training.optimization.optimizer import build_optimizer
from zoo.training.parallel.towers import Towers
from zoo.training.parallel.world import World
from zoo.training.precision import chosen_precision, gradient_scaler
from zoo.training.recipes.recipe import Recipe
from zoo.training.run import build_model, check_shares
from zoo.training.step import update
from zoo.training.tasks.contrastive import ContrastiveTask

BATCH = toy_batch(0, 8)


def started(recipe: Recipe) -> tuple[TrainState, Towers]:
    task = ContrastiveTask(build_model(recipe))
    task.train()
    towers = Towers(task, recipe, ALONE)
    state = TrainState(
        recipe=recipe,
        task=task,
        optimizer=build_optimizer(task, recipe),
        loader=ToyLoader(recipe),
        world=ALONE,
        scaler=gradient_scaler(recipe.precision, ALONE.device),
    )
    return state, towers


def weights(state: TrainState) -> dict[str, Tensor]:
    return {name: p.detach().clone() for name, p in state.task.named_parameters()}


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_lower_precision_is_of_the_towers_alone(precision: Any, tmp_path: Path) -> None:
    state, towers = started(toy_recipe(tmp_path, precision=precision))
    formats: set[torch.dtype] = set()
    layer = state.model.image_encoder.get_submodule("stem")
    layer.register_forward_hook(lambda module, inputs, output: formats.add(output.dtype))
    features = towers(BATCH)
    assert formats == {getattr(torch, precision)}
    assert {value.dtype for value in features.values()} == {torch.float32}
    exact = started(toy_recipe(tmp_path, precision="float32"))[1](BATCH)
    assert 0 < (features["text"] - exact["text"]).abs().max() < 0.05
    assert {p.dtype for p in state.task.parameters()} == {torch.float32}


def test_a_gradient_beyond_float16_lowers_the_scale_and_moves_nothing(tmp_path: Path) -> None:
    state, towers = started(toy_recipe(tmp_path, precision="float16"))
    state.scaler = torch.amp.GradScaler("cpu", init_scale=64.0)
    before = weights(state)
    hook = state.model.logit_scale.register_hook(lambda gradient: gradient * float("inf"))
    update(state, towers, BATCH)
    assert all(torch.equal(value, before[name]) for name, value in weights(state).items())
    assert state.scaler.get_scale() == 32 and state.step == 1
    hook.remove()
    update(state, towers, BATCH)
    assert not torch.equal(weights(state)["model.logit_scale"], before["model.logit_scale"])


def test_a_gradient_that_no_scale_makes_finite_stops(tmp_path: Path) -> None:
    state, towers = started(toy_recipe(tmp_path, precision="float16"))
    state.scaler = torch.amp.GradScaler("cpu", init_scale=1.0)
    state.model.logit_scale.register_hook(lambda gradient: gradient * float("nan"))
    with pytest.raises(ValueError, match="norm of the gradient is nan"):
        update(state, towers, BATCH)


def test_auto_is_what_the_device_computes_fast() -> None:
    assert chosen_precision("float16", torch.device("cpu")) == "float16"
    has_units = torch.cpu._is_amx_tile_supported()
    expected = "bfloat16" if has_units else "float32"
    assert chosen_precision("auto", torch.device("cpu")) == expected


def test_a_model_without_trainable_parameters_is_refused(tmp_path: Path) -> None:
    recipe = toy_recipe(tmp_path, precision="float32")
    task = ContrastiveTask(build_model(recipe).requires_grad_(False))
    with pytest.raises(ValueError, match="No parameter of the model is trainable"):
        Towers(task, recipe, ALONE)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"parallel": "fsdp", "precision": "float16"}, "cannot be used with parallel=fsdp"),
        ({"compile": True, "synchronize_batch_norm": True}, "cannot be used with synchronize"),
    ],
)
def test_fields_that_exclude_each_other_are_one_sentence(
    changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    recipe = toy_recipe(tmp_path, **changes)
    task = ContrastiveTask(build_model(recipe))
    with pytest.raises(ValueError, match=message):
        Towers(task, recipe, World(device=torch.device("cpu"), size=2))


def test_processes_and_parts_must_divide_the_batch(tmp_path: Path) -> None:
    recipe = toy_recipe(tmp_path, accumulation=2)
    check_shares(recipe, World(device=torch.device("cpu"), size=4))
    with pytest.raises(ValueError, match="make batch_size a multiple of 6"):
        check_shares(recipe, World(device=torch.device("cpu"), size=3))


@pytest.mark.slow
def test_compilation_changes_neither_keys_nor_losses(tmp_path: Path) -> None:
    recipe = toy_recipe(tmp_path, precision="float32")
    (plain, towers), (compiled, fast) = (
        started(recipe),
        started(toy_recipe(tmp_path, precision="float32", compile=True)),
    )
    assert compiled.task.state_dict().keys() == plain.task.state_dict().keys()
    for _ in range(2):
        expected, found = update(plain, towers, BATCH), update(compiled, fast, BATCH)
        assert found.losses == pytest.approx(expected.losses, abs=1e-3)
