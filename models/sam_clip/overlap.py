"""How far masks cover each other."""

from __future__ import annotations

import torch
from torch import Tensor


def mask_iou(masks: Tensor, references: Tensor) -> Tensor:
    """Return the intersection over union (…) of masks bool (…, h, w); two empty ones agree: 1."""
    union = (masks | references).sum(dim=(-2, -1))
    shared = (masks & references).sum(dim=(-2, -1))
    return torch.where(union > 0, shared / union.clamp(min=1), 1.0)
