"""The learning rate of every step."""

from __future__ import annotations

import math

import torch

from zoo.training.recipes.recipe import Recipe


def learning_rate_at(
    step: int, *, steps: int, warmup_steps: int, peak: float, lowest: float = 0.0
) -> float:
    """Return the rate of update number `step` (from 0): linear warm-up, then half a cosine.

    The first update has peak / warmup_steps, update warmup_steps - 1 has `peak`, and the last one
    a little more than `lowest`, so that no update is wasted.
    """
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    progress = (step - warmup_steps) / (steps - warmup_steps)
    return lowest + (peak - lowest) * 0.5 * (1 + math.cos(math.pi * progress))


def recipe_learning_rate(recipe: Recipe, step: int) -> float:
    """Return the recipe's rate of update number `step`, from 0."""
    return learning_rate_at(
        step,
        steps=recipe.steps,
        warmup_steps=recipe.warmup_steps,
        peak=recipe.learning_rate,
        lowest=recipe.min_learning_rate,
    )


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Give every parameter group the learning rate, times its own `lr_scale`."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["lr_scale"]
