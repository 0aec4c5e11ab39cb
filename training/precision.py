"""The number format of the towers' arithmetic."""

from __future__ import annotations

import torch

from zoo.training.recipes.choices import Precision


def chosen_precision(precision: Precision, device: torch.device) -> Precision:
    """Return what "auto" means on a device: bfloat16 where its units compute it, else float32.

    On a CPU that is AMX; AVX-512's bfloat16 multiplies but leaves the rest of a convolutional
    tower, which memory binds, to conversions.
    """
    if precision != "auto":
        return precision
    if device.type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
    return "bfloat16" if torch.cpu._is_amx_tile_supported() else "float32"


def towers_autocast(precision: Precision, device: torch.device) -> torch.autocast:
    """Return what the towers run in: weights stay float32 and are cast where they are used."""
    assert precision != "auto"
    lower = precision != "float32"
    return torch.autocast(device.type, getattr(torch, precision) if lower else None, enabled=lower)


def gradient_scaler(precision: Precision, device: torch.device) -> torch.amp.GradScaler | None:
    """Return what keeps float16's gradients above its smallest number; None for other formats."""
    return torch.amp.GradScaler(device.type) if precision == "float16" else None
