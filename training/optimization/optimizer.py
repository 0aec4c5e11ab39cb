"""AdamW with the usual exceptions from weight decay."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

# Named wherever a model keeps where a token or patch stands; decaying them would erase positions.
POSITIONAL_NAMES = ("positional_embedding", "pos_embed", "class_embedding", "cls_token")


def build_optimizer(
    model: nn.Module, learning_rate: float, *, weight_decay: float, betas: tuple[float, float]
) -> torch.optim.AdamW:
    """Return AdamW over the trainable parameters, some of them free of weight decay."""
    groups = parameter_groups(model, weight_decay)
    return torch.optim.AdamW(groups, lr=learning_rate, betas=betas)


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Split the trainable parameters into [decayed, not decayed] groups for an optimizer."""
    trainable = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    decayed = [p for name, p in trainable if is_decayed(name, p)]
    kept = [p for name, p in trainable if not is_decayed(name, p)]
    return [
        {"params": decayed, "weight_decay": weight_decay},
        {"params": kept, "weight_decay": 0.0},
    ]


def is_decayed(name: str, parameter: Tensor) -> bool:
    """Say whether weight decay applies: to matrices and kernels that are not positions.

    Biases, norms, the logit scale and layer scales (stored as (C, 1, 1) in convolutional towers)
    vary along at most one axis and are left alone.
    """
    varying_axes = sum(size > 1 for size in parameter.shape)
    return varying_axes > 1 and name.rpartition(".")[2] not in POSITIONAL_NAMES
