"""One step: batch, losses, gradient, and only then the optimizer."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from zoo.training.accumulation import add_gradients
from zoo.training.checkpoints.train_state import TrainState
from zoo.training.optimization.schedule import recipe_learning_rate, set_learning_rate
from zoo.training.parallel.gradient_norm import clip_gradients
from zoo.training.parallel.towers import Towers

_SMALLEST_SCALE = 1.0
_NORM = "norm of the gradient"


class Update(NamedTuple):
    """What led to a step."""

    losses: dict[str, float]
    """The named losses of the global batch, weights applied."""
    gradient_norm: float
    """Norm of the whole gradient, before clipping."""


def update(state: TrainState, towers: Towers, batch: Mapping[str, Tensor]) -> Update:
    """Make one optimizer step, on this process's share of a batch.

    Raises ValueError when a loss or the gradient is not finite; the optimizer has not moved then.
    A gradient that overflows float16 is no error: the step is left out and the loss scaled less.
    """
    device = state.world.device
    batch = {key: value.to(device, non_blocking=True) for key, value in batch.items()}
    state.task.check_batch(batch)
    state.optimizer.zero_grad(set_to_none=True)
    losses = add_gradients(
        state.task,
        towers,
        batch,
        parts=state.recipe.accumulation,
        scaled=state.scaler.scale if state.scaler else lambda loss: loss,
    )
    norm = _finish_gradients(state, towers)
    values = _read(losses | {_NORM: norm})
    _check_finite(state, values)
    _move(state)
    state.step += 1
    return Update(gradient_norm=values.pop(_NORM), losses=values)


def _finish_gradients(state: TrainState, towers: Towers) -> Tensor:
    """Make the gradients those of the global batch, clipped; return their norm before that."""
    towers.average_whole_gradients()
    if state.scaler:
        state.scaler.unscale_(state.optimizer)
    largest = state.recipe.clip_norm or math.inf
    return clip_gradients(state.task.parameters(), largest, state.world.group)


def _read(values: Mapping[str, Tensor]) -> dict[str, float]:
    """Fetch numbers from the device in one transfer: the only wait for it in a step."""
    numbers = torch.stack([value.float() for value in values.values()]).tolist()
    return dict(zip(values, numbers, strict=True))


def _check_finite(state: TrainState, values: Mapping[str, float]) -> None:
    for name, value in values.items():
        if math.isfinite(value) or _scales_less(state, name):
            continue
        raise ValueError(
            f"Step {state.step + 1}: the {name} is {value}; training stopped before the optimizer "
            "moved. Lower learning_rate or look for the batch that causes it, then resume."
        )


def _scales_less(state: TrainState, name: str) -> bool:
    """Whether it is a gradient that the scaler may have driven out of float16's range."""
    if state.scaler is None or name != _NORM:
        return False
    return state.scaler.get_scale() > _SMALLEST_SCALE


def _move(state: TrainState) -> None:
    set_learning_rate(state.optimizer, recipe_learning_rate(state.recipe, state.step))
    if state.scaler:
        state.scaler.step(state.optimizer)
        state.scaler.update()
    else:
        state.optimizer.step()
    state.task.after_step()
    if state.average:
        state.average.update(state.model)
