"""The objectives of image-text training, as plain formulas over a batch of features.

Everything here takes L2-normalised features (B, D) whose rows match: row i of the image features
and row i of the text features come from the same sample. `logit_scale` is the multiplier itself
(100.0), not its logarithm. A loss is the mean over the batch, a scalar in nats, differentiable in
every student argument.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F


class TeacherPair(NamedTuple):
    """One teacher's view of the batch; embedding sizes may differ from teacher to teacher."""

    image_features: Tensor
    """(B, D_k), L2-normalised."""
    text_features: Tensor
    """(B, D_k), L2-normalised."""
    logit_scale: float
    """Multiplier of the teacher's cosine similarities, e.g. 100.0."""


def contrastive_loss(
    image_features: Tensor, text_features: Tensor, logit_scale: Tensor | float
) -> Tensor:
    """Return the CLIP loss: the mean of both directions' cross-entropy towards the matching row.

    L_clip = ½ [CE(S, y) + CE(Sᵀ, y)], S = logit_scale · I Tᵀ, y = 0 … B-1
    (arXiv 2103.00020, figure 3).
    """
    logits = _similarity(image_features, text_features, logit_scale)
    match = torch.arange(len(logits), device=logits.device)
    return (F.cross_entropy(logits, match) + F.cross_entropy(logits.T, match)) / 2


def distillation_loss(
    image_features: Tensor,
    text_features: Tensor,
    logit_scale: Tensor | float,
    teachers: Sequence[TeacherPair],
) -> Tensor:
    """Return the affinity-mimicking loss: the student's softmax is drawn towards the teachers'.

    The target is the mean over teachers of their softmax, each with its own scale, and each
    direction has a softmax of its own, over its own candidates (arXiv 2311.17049, section 4.1, and
    2508.20691 for one scale per teacher):

        P_I2T  = (1/K) Σ_k softmax(s_k · Ti_k Tt_kᵀ)
        P_T2I  = (1/K) Σ_k softmax(s_k · Tt_k Ti_kᵀ)
        L_dist = ½ [CE(S, P_I2T) + CE(Sᵀ, P_T2I)]

    This is the KL divergence plus the entropy of the target, which does not depend on the student.
    Raises ValueError when there is no teacher.
    """
    if not teachers:
        raise ValueError(
            "distillation_loss needs at least one teacher, got none; "
            "use reinforced data or a distillation weight of 0."
        )
    logits = _similarity(image_features, text_features, logit_scale)
    image_to_text = _mean_probability((image, text, scale) for image, text, scale in teachers)
    text_to_image = _mean_probability((text, image, scale) for image, text, scale in teachers)
    return (F.cross_entropy(logits, image_to_text) + F.cross_entropy(logits.T, text_to_image)) / 2


def _similarity(rows: Tensor, columns: Tensor, logit_scale: Tensor | float) -> Tensor:
    """Return logits (B, B): entry (i, j) compares rows[i] with columns[j]."""
    if rows.shape != columns.shape:
        raise ValueError(
            f"image and text features must have the same shape (B, D), "
            f"got {tuple(rows.shape)} and {tuple(columns.shape)}."
        )
    return logit_scale * rows @ columns.T


def _mean_probability(teachers: Iterable[tuple[Tensor, Tensor, float]]) -> Tensor:
    """Return (B, B): the mean of the softmax of each (queries, candidates, logit_scale)."""
    return torch.stack([_similarity(*teacher).softmax(dim=1) for teacher in teachers]).mean(dim=0)
