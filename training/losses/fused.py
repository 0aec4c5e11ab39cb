"""CLIP's loss and affinity mimicking together, without a matrix of similarities in memory.

`contrastive_loss` and `distillation_loss` are what this computes, in value and in gradient. With
the student's logits S (b, B) of this process's rows and the teachers' mean softmaxes P, both terms
and their gradient are sums over tiles of S and P:

    (1-λ) L_clip + λ L_dist = ½ [mean logsumexp_rows(S) + mean logsumexp_columns(S)]
                              - (1-λ)/B Σ_i S_ii - λ/2B Σ_ij (P_I2T + P_T2I)_ij S_ij
    2B ∂/∂S = softmax_rows(S) + softmax_columns(S) - 2 (1-λ) identity - λ (P_I2T + P_T2I)

A first pass over the tiles finds the logsumexp of all rows and columns, a second one adds up value
and gradient. Both are in the forward pass, so that what is kept for the backward pass is as large
as the features.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.distributed import ProcessGroup

from zoo.training.losses.contrastive import check_pair
from zoo.training.losses.distillation import TeacherPair, check_teachers
from zoo.training.losses.tiled_similarities import TiledSimilarities
from zoo.training.losses.tiles import Tiling, dot, fit, tiling_for
from zoo.training.parallel.collectives import gather_rows, group_size, sum_of_own_rows, total


class PairLoss(NamedTuple):
    """Both terms, weights applied. What is minimised is their sum: gradients are only of that."""

    contrastive: Tensor
    """(1-λ) · `contrastive_loss`; 0 where λ is 1."""
    distillation: Tensor
    """λ · `distillation_loss`; 0 where λ is 0."""


def fused_loss(
    image_features: Tensor,
    text_features: Tensor,
    logit_scale: Tensor | float,
    *,
    teachers: Sequence[TeacherPair] = (),
    distillation_weight: float = 0.0,
    group: ProcessGroup | None = None,
    tiling: Tiling | None = None,
) -> PairLoss:
    """Return (1-λ) · contrastive_loss and λ · distillation_loss of one kind of caption.

    Features (b, D) are L2-normalised, b of this process's own pairs, as many in each process;
    λ = `distillation_weight` in [0, 1]. A term of weight 0 is not computed. With a `group`, values
    are those of all processes' pairs, the same in each; gradients of features are world size times
    the global ones and that of the scale is the global one, so that means over processes are right.
    Each process computes its rows against the texts of all. `tiling`: None takes what suits the
    device. Raises ValueError for shapes that do not match, for λ out of its range and for λ above 0
    without a teacher.
    """
    weight = distillation_weight
    if not 0 <= weight <= 1:
        raise ValueError(f"distillation_weight is {weight:g}, but it must be between 0 and 1.")
    check_pair(image_features, text_features)
    if weight > 0:
        check_teachers(teachers, image_features)
    features = image_features, text_features, torch.as_tensor(logit_scale).to(image_features)
    setting = _Setting(
        teachers=tuple(teachers) if weight > 0 else (),
        weight=weight,
        group=group,
        tiling=tiling or tiling_for(image_features.device),
    )
    with torch.autocast(image_features.device.type, enabled=False):
        return PairLoss(*_FusedLoss.apply(*features, setting))


class _Setting(NamedTuple):
    teachers: tuple[TeacherPair, ...]
    weight: float
    group: ProcessGroup | None
    tiling: Tiling


class _FusedLoss(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, image: Tensor, text: Tensor, scale: Tensor, setting: _Setting
    ) -> tuple[Tensor, Tensor]:
        ctx.set_materialize_grads(False)
        ctx.weight = setting.weight
        losses, gradients = _evaluate(image, text, scale, setting)
        ctx.save_for_backward(*gradients)
        return losses

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grad_outputs: Tensor | None) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        contrastive, distillation = grad_outputs
        if ctx.weight == 0:
            distillation = contrastive
        if ctx.weight == 1:
            contrastive = distillation
        factor = _common_factor(contrastive, distillation)
        return (*(gradient * factor for gradient in ctx.saved_tensors), None)


def _common_factor(contrastive: Tensor | None, distillation: Tensor | None) -> Tensor:
    """Return what both terms are multiplied with after this; NaN where it is not the same."""
    if contrastive is None or distillation is None:
        raise ValueError(
            "fused_loss has only the gradient of the sum of its terms; "
            "add them up before backward(), or set distillation_weight to 0 or 1."
        )
    return torch.where(contrastive == distillation, contrastive, torch.nan)


def _evaluate(
    image: Tensor, text: Tensor, scale: Tensor, setting: _Setting
) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]:
    """Return both losses, weights applied, and their sum's gradients of image, text and scale."""
    weight, group = setting.weight, setting.group
    texts = gather_rows(text, group)
    student, teachers = _similarities(image, texts, scale, setting)
    image_sums, texts_sums, aligned = _second_pass(student, teachers, setting)
    text_sums = sum_of_own_rows(texts_sums, group)
    image_sums.add_(text, alpha=2 * (1 - weight))
    text_sums.add_(image, alpha=2 * (1 - weight))
    of_rows = student.row_logsumexp.sum()
    own = [of_rows, scale * dot(image, text), aligned, dot(image, image_sums)]
    row_logsumexp, matching, aligned, of_scale = total(torch.stack(own), group) / len(texts)
    logsumexp = (row_logsumexp + student.column_logsumexp.mean()) / 2
    contrastive = (1 - weight) * (logsumexp - matching)
    distillation = weight * logsumexp - aligned / 2
    factor = -scale * group_size(group) / (2 * len(texts))
    gradients = image_sums.mul_(factor), text_sums.mul_(factor), (of_scale / -2).to(image)
    return (contrastive.to(image), distillation.to(image)), gradients


def _similarities(
    image: Tensor, texts: Tensor, scale: Tensor, setting: _Setting
) -> tuple[TiledSimilarities, list[TiledSimilarities]]:
    """Return the student's and the teachers', after the first pass over each."""
    tiling = setting.tiling
    scratch = tiling.scratch(image), tiling.scratch(image)
    keep = tiling.kept_bytes // scratch[0].nbytes
    # The teachers' first: longer features make their tiles dearer to compute again.
    teachers: list[TiledSimilarities] = []
    for rows, columns, multiplier in setting.teachers:
        everywhere = gather_rows(columns.to(image), setting.group)
        teacher = TiledSimilarities(
            rows.to(image), everywhere, multiplier, tiling, scratch, keep=keep, group=setting.group
        )
        keep -= teacher.kept
        teachers.append(teacher)
    student = TiledSimilarities(
        image, texts, scale, tiling, scratch, keep=keep, group=setting.group
    )
    return student, teachers


def _second_pass(
    student: TiledSimilarities, teachers: Sequence[TiledSimilarities], setting: _Setting
) -> tuple[Tensor, Tensor, Tensor]:
    """Return G T (b, D), Gᵀ I (B, D) and λ Σ_ij (P_I2T + P_T2I)_ij S_ij.

    G is -2B ∂/∂S but for the identity, which needs no tile.
    """
    image, texts, tiling = student.rows, student.columns, setting.tiling
    image_sums, texts_sums = torch.zeros_like(image), torch.zeros_like(texts)
    aligned = image.new_zeros((), dtype=torch.float64)
    scratch = tiling.scratch(image)
    for rows in tiling.spans(len(image)):
        for columns in tiling.spans(len(texts)):
            tile = fit(scratch, rows, columns).zero_()
            for teacher in teachers:
                share = setting.weight / len(teachers)
                logits = teacher.logits(rows, columns)
                teacher.add_softmaxes(tile, logits, rows, columns, weight=share)
            logits = student.logits(rows, columns)
            if teachers:
                aligned += torch.dot(tile.view(-1), logits.view(-1))
            student.add_softmaxes(tile, logits, rows, columns, weight=-1.0)
            image_sums[rows].addmm_(tile, texts[columns])
            texts_sums[columns].addmm_(tile.T, image[rows])
    return image_sums, texts_sums, aligned
