"""One step: batch, losses, gradient, and only then the optimizer."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from zoo.training.checkpoints.train_state import TrainState
from zoo.training.optimization.schedule import learning_rate_at, set_learning_rate


def update(state: TrainState, batch: Mapping[str, Tensor]) -> dict[str, float]:
    """Make one optimizer step and return the losses that led to it."""
    device = state.world.device
    batch = {key: value.to(device, non_blocking=True) for key, value in batch.items()}
    state.task.check_batch(batch)
    losses = state.task.losses(state.task(batch), batch)
    values = {name: loss.item() for name, loss in losses.items()}
    for name, value in values.items():
        _check_finite(state, name, value)
    state.optimizer.zero_grad(set_to_none=True)
    torch.stack(list(losses.values())).sum().backward()
    largest = state.recipe.clip_norm or math.inf
    norm = torch.nn.utils.clip_grad_norm_(state.model.parameters(), largest)
    _check_finite(state, "norm of the gradient", norm.item())
    set_learning_rate(state.optimizer, _learning_rate(state))
    state.optimizer.step()
    state.task.after_step()
    state.step += 1
    return values


def _learning_rate(state: TrainState) -> float:
    recipe = state.recipe
    return learning_rate_at(
        state.step,
        steps=recipe.steps,
        warmup_steps=recipe.warmup_steps,
        peak=recipe.learning_rate,
    )


def _check_finite(state: TrainState, name: str, value: float) -> None:
    if not math.isfinite(value):
        raise ValueError(
            f"Step {state.step + 1}: the {name} is {value}; training stopped before the optimizer "
            "moved. Lower learning_rate or look for the batch that causes it, then resume."
        )
