"""The number format of the towers' arithmetic."""

from __future__ import annotations

import torch

from zoo.models.devices import computes_bfloat16_fast
from zoo.training.recipes.choices import Precision


def chosen_precision(precision: Precision, device: torch.device) -> Precision:
    """Return what "auto" means on a device: bfloat16 where its units compute it, else float32."""
    if precision != "auto":
        return precision
    return "bfloat16" if computes_bfloat16_fast(device) else "float32"


def towers_autocast(precision: Precision, device: torch.device) -> torch.autocast:
    """Return what the towers run in: weights stay float32 and are cast where they are used."""
    assert precision != "auto"
    lower = precision != "float32"
    return torch.autocast(device.type, getattr(torch, precision) if lower else None, enabled=lower)


def gradient_scaler(precision: Precision, device: torch.device) -> torch.amp.GradScaler | None:
    """Return what keeps float16's gradients above its smallest number; None for other formats."""
    return torch.amp.GradScaler(device.type) if precision == "float16" else None
