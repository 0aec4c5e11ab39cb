"""Features for losses, and what a loss makes of them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from zoo.training.losses.distillation import TeacherPair


def random_features(*shape: int, seed: int) -> Tensor:
    """Return L2-normalised float64 features."""
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(*shape, generator=generator, dtype=torch.float64), dim=-1)


def random_teachers(batch: int, count: int, *, scale: float) -> list[TeacherPair]:
    """Return teachers of different sizes and multipliers."""
    return [
        TeacherPair(*random_features(2, batch, 4 + k, seed=10 + k), logit_scale=scale - 2 * k)
        for k in range(count)
    ]


def value_and_gradients(loss: Callable[..., Tensor], *arguments: Tensor) -> list[Tensor]:
    """Return the loss and its gradient towards each argument."""
    leaves = [argument.detach().clone().requires_grad_() for argument in arguments]
    value = loss(*leaves)
    value.backward()
    gradients = [leaf.grad if leaf.grad is not None else torch.zeros_like(leaf) for leaf in leaves]
    return [value.detach(), *gradients]
