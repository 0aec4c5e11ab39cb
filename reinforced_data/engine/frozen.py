"""Models that only look: they stay in eval mode whatever is asked of them."""

from __future__ import annotations

from functools import partial
from typing import TypeVar

from torch import nn

Model = TypeVar("Model", bound=nn.Module)


def frozen(model: Model) -> Model:
    """Freeze `model` for good and return it.

    It is in eval mode and its parameters need no gradient; `train()` of it and of each of its parts
    does nothing from now on, so that a teacher inside a module that trains stays as it is without
    anyone remembering it. A copy, pickled or not, stays in eval mode too.
    """
    model.eval().requires_grad_(False)
    for part in model.modules():
        # Of the instance, not the class: others of the same class may be trained.
        vars(part)["train"] = partial(_as_it_is, part)
    return model


def _as_it_is(part: nn.Module, mode: bool = True) -> nn.Module:
    """Stand in for `part.train(mode)`, which `part.eval()` calls too."""
    return part
