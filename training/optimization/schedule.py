"""The learning rate of every step."""

from __future__ import annotations

import math

import torch


def learning_rate_at(step: int, *, steps: int, warmup_steps: int, peak: float) -> float:
    """Return the rate of update number `step` (from 0): linear warm-up, then half a cosine to 0.

    The first update has peak / warmup_steps, update warmup_steps - 1 has `peak`, and the last one
    a little more than 0, so that no update is wasted.
    """
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    progress = (step - warmup_steps) / (steps - warmup_steps)
    return peak * 0.5 * (1 + math.cos(math.pi * progress))


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Give every parameter group the same learning rate."""
    for group in optimizer.param_groups:
        group["lr"] = rate
