"""AdamW with the usual exceptions from weight decay."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from zoo.training.recipes.recipe import Recipe

# Named wherever a model keeps where a token or patch stands; decaying them would erase positions.
POSITIONAL_NAMES = (
    "positional_embedding",
    "pos_embed",
    "rel_pos_h",
    "rel_pos_w",
    "class_embedding",
    "cls_token",
)


_Group = tuple[bool, float, bool]
"""(decayed, factor of the learning rate, divided by FSDP2)"""


def build_optimizer(
    module: nn.Module, recipe: Recipe, scales: Mapping[str, float] | None = None
) -> torch.optim.AdamW:
    """Return fused AdamW over the trainable parameters of a model or task.

    `scales` multiply the learning rate, by parameter name; those left out have 1.
    """
    groups = parameter_groups(module, recipe.weight_decay, scales or {})
    optimizer = torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=recipe.betas, fused=True)
    optimizer.register_load_state_dict_post_hook(_order_as_parameters)
    return optimizer


def parameter_groups(
    module: nn.Module, weight_decay: float, scales: Mapping[str, float] | None = None
) -> list[dict[str, Any]]:
    """Group the trainable parameters by weight decay and `lr_scale`, the decayed ones first.

    Parameters that FSDP2 has divided and whole ones are apart too: no fused kernel takes both.
    """
    groups: dict[_Group, list[nn.Parameter]] = {}
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            scale = (scales or {}).get(name, 1.0)
            key = (is_decayed(name, parameter), scale, isinstance(parameter, DTensor))
            groups.setdefault(key, []).append(parameter)
    return [
        {
            "params": parameters,
            "weight_decay": weight_decay if decayed else 0.0,
            "lr_scale": scale,
        }
        for (decayed, scale, _), parameters in sorted(groups.items(), key=_key, reverse=True)
    ]


def _key(group: tuple[_Group, list[nn.Parameter]]) -> _Group:
    return group[0]


def is_decayed(name: str, parameter: Tensor) -> bool:
    """Say whether weight decay applies: to matrices and kernels that are not positions.

    Biases, norms, the logit scale and layer scales (stored as (C, 1, 1) in convolutional towers)
    vary along at most one axis and are left alone.
    """
    varying_axes = sum(size > 1 for size in parameter.shape)
    return varying_axes > 1 and name.rpartition(".")[2] not in POSITIONAL_NAMES


def _order_as_parameters(optimizer: torch.optim.Optimizer) -> None:
    """Lay loaded moments out in memory as their parameters are.

    The fused CPU kernel (torch 2.15) walks all of them in the order of memory, and so would give
    channels_last weights the moments of others without a word.
    """
    for parameter, moments in optimizer.state.items():
        for name, value in moments.items():
            if value.shape == parameter.shape and value.stride() != parameter.stride():
                moments[name] = torch.empty_like(parameter).copy_(value)
