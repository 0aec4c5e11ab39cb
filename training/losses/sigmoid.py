"""SigLIP's loss: plain, as its formula reads, and tile by tile."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.distributed import ProcessGroup
from torch.nn import functional as F

from zoo.training.losses.contrastive import check_pair, similarity
from zoo.training.losses.tiles import Tiling, dot, fit, tiling_for
from zoo.training.parallel.collectives import gather_rows, group_size, sum_of_own_rows, total


def plain_sigmoid_loss(
    image_features: Tensor,
    text_features: Tensor,
    logit_scale: Tensor | float,
    logit_bias: Tensor | float,
) -> Tensor:
    """Return SigLIP's loss: each of the B² pairs is a yes-or-no question of its own.

    L = -1/B Σ_ij log sigmoid(z_ij S_ij), S = logit_scale · I Tᵀ + logit_bias, and z_ij is 1 where
    i = j, else -1 (arXiv 2303.15343, section 3.2). The specification of `sigmoid_loss`.
    """
    logits = similarity(image_features, text_features, logit_scale) + logit_bias
    sign = 2 * torch.eye(len(logits), dtype=logits.dtype, device=logits.device) - 1
    return -F.logsigmoid(sign * logits).sum() / len(logits)


def sigmoid_loss(
    image_features: Tensor,
    text_features: Tensor,
    logit_scale: Tensor | float,
    logit_bias: Tensor | float,
    *,
    group: ProcessGroup | None = None,
    tiling: Tiling | None = None,
) -> Tensor:
    """Return what `plain_sigmoid_loss` does, without a matrix (B, B) in memory.

    Features (b, D), `group` and `tiling` are as in `fused_loss`, and so are the gradients: those of
    features are world size times the global ones, those of scale and bias are the global ones.
    Raises ValueError for shapes that do not match.
    """
    check_pair(image_features, text_features)
    scale, bias = (torch.as_tensor(x).to(image_features) for x in (logit_scale, logit_bias))
    setting = _Setting(group, tiling or tiling_for(image_features.device))
    with torch.autocast(image_features.device.type, enabled=False):
        return _SigmoidLoss.apply(image_features, text_features, scale, bias, setting)


class _Setting(NamedTuple):
    group: ProcessGroup | None
    tiling: Tiling


class _SigmoidLoss(torch.autograd.Function):
    """-log sigmoid(-S) summed over all pairs, less S summed over the matching ones: for those,
    -log sigmoid(S) = -log sigmoid(-S) - S. So the gradient is sigmoid(S) less the identity."""

    @staticmethod
    def forward(
        ctx: Any, image: Tensor, text: Tensor, scale: Tensor, bias: Tensor, setting: _Setting
    ) -> Tensor:
        group = setting.group
        texts = gather_rows(text, group)
        batch = len(texts)
        image_sums, texts_sums, softplus, yes = _pass(image, texts, scale, bias, setting.tiling)
        image_sums.sub_(text)
        text_sums = sum_of_own_rows(texts_sums, group).sub_(image)
        loss = softplus - scale * dot(image, text) - bias * len(image)
        own = torch.stack([loss, dot(image, image_sums), yes - len(image)])
        loss, of_scale, of_bias = total(own, group).div(batch).to(image)
        factor = scale * group_size(group) / batch
        ctx.save_for_backward(image_sums.mul_(factor), text_sums.mul_(factor), of_scale, of_bias)
        return loss.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        return (*(gradient * grad_outputs[0] for gradient in ctx.saved_tensors), None)


def _pass(
    image: Tensor, texts: Tensor, scale: Tensor, bias: Tensor, tiling: Tiling
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return G T (b, D), Gᵀ I (B, D), Σ -log sigmoid(-S) and Σ G, where G = sigmoid(S) (b, B)."""
    image_sums, texts_sums = torch.zeros_like(image), torch.zeros_like(texts)
    softplus, yes = image.new_zeros(2, dtype=torch.float64).unbind()
    scratch = tiling.scratch(image)
    for rows in tiling.spans(len(image)):
        scaled = image[rows] * scale
        for columns in tiling.spans(len(texts)):
            logits = torch.mm(scaled, texts[columns].T, out=fit(scratch, rows, columns)).add_(bias)
            softplus = softplus - F.logsigmoid(-logits).sum()
            likely = logits.sigmoid_()
            yes = yes + likely.sum()
            image_sums[rows].addmm_(likely, texts[columns])
            texts_sums[columns].addmm_(likely.T, image[rows])
    return image_sums, texts_sums, softplus, yes
