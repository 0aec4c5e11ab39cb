"""MobileCLIP's affinity mimicking, plain: it reads like the formula."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from zoo.training.losses.contrastive import check_pair, similarity


class TeacherPair(NamedTuple):
    """One teacher's view of the batch; embedding sizes may differ from teacher to teacher."""

    image_features: Tensor
    """(B, D_k), L2-normalised."""
    text_features: Tensor
    """(B, D_k), L2-normalised."""
    logit_scale: float
    """Multiplier of the teacher's cosine similarities, e.g. 100.0."""


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
    check_teachers(teachers, image_features)
    logits = similarity(image_features, text_features, logit_scale)
    image_to_text = _mean_probability((image, text, scale) for image, text, scale in teachers)
    text_to_image = _mean_probability((text, image, scale) for image, text, scale in teachers)
    return (F.cross_entropy(logits, image_to_text) + F.cross_entropy(logits.T, text_to_image)) / 2


def check_teachers(teachers: Sequence[TeacherPair], student_features: Tensor) -> None:
    """Raise ValueError when there is no teacher, or one of another batch than the student's."""
    if not teachers:
        raise ValueError(
            "distillation needs at least one teacher, got none; "
            "use reinforced data or a distillation weight of 0."
        )
    for teacher in teachers:
        check_pair(teacher.image_features, teacher.text_features)
        if len(teacher.image_features) != len(student_features):
            raise ValueError(
                f"a teacher has {len(teacher.image_features)} rows and the student "
                f"{len(student_features)}; both must come from the same batch."
            )


def _mean_probability(teachers: Iterable[tuple[Tensor, Tensor, float]]) -> Tensor:
    """Return (B, B): the mean of the softmax of each (queries, candidates, logit_scale)."""
    return torch.stack([similarity(*teacher).softmax(dim=1) for teacher in teachers]).mean(dim=0)
