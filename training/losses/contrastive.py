"""CLIP's loss, plain: it reads like the formula."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def contrastive_loss(
    image_features: Tensor, text_features: Tensor, logit_scale: Tensor | float
) -> Tensor:
    """Return the CLIP loss: the mean of both directions' cross-entropy towards the matching row.

    L_clip = ½ [CE(S, y) + CE(Sᵀ, y)], S = logit_scale · I Tᵀ, y = 0 … B-1
    (arXiv 2103.00020, figure 3).
    """
    logits = similarity(image_features, text_features, logit_scale)
    match = torch.arange(len(logits), device=logits.device)
    return (F.cross_entropy(logits, match) + F.cross_entropy(logits.T, match)) / 2


def similarity(rows: Tensor, columns: Tensor, logit_scale: Tensor | float) -> Tensor:
    """Return logits (B, B): entry (i, j) compares rows[i] with columns[j]."""
    check_pair(rows, columns)
    return logit_scale * rows @ columns.T


def check_pair(image_features: Tensor, text_features: Tensor) -> None:
    """Raise ValueError when the two are not features (B, D) of the same samples."""
    if image_features.shape != text_features.shape:
        raise ValueError(
            f"image and text features must have the same shape (B, D), "
            f"got {tuple(image_features.shape)} and {tuple(text_features.shape)}."
        )
