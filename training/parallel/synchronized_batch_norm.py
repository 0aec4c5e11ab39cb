"""BatchNorm whose statistics are those of the batch of all processes.

torch.nn.SyncBatchNorm refuses the CPU, and it is no BatchNorm2d, which is what re-parameterization
looks for. Here the modules stay what they are, with the same keys; only `forward` is another.
"""

from __future__ import annotations

from types import MethodType
from typing import Any

import torch
from timm.layers.norm_act import BatchNormAct2d
from torch import Tensor, distributed, nn

_BatchNorm = nn.modules.batchnorm._BatchNorm


def synchronize_batch_norm(module: nn.Module) -> None:
    """Let every BatchNorm inside `module`, in place, use the statistics of all processes.

    In training mode every process must run the same modules on inputs of one shape. Outputs,
    gradients and running statistics are then those of one process with the whole batch.
    """
    for norm in module.modules():
        if isinstance(norm, _BatchNorm):
            norm.forward = MethodType(_forward, norm)


@torch.compiler.disable  # the collectives inside cannot be traced
def _forward(self: Any, x: Tensor) -> Tensor:
    if not self.training:
        return type(self).forward(self, x)
    y, mean, variance = _Normalize.apply(x, self.weight, self.bias, self.eps)  # pyright: ignore[reportGeneralTypeIssues]
    if self.track_running_stats:
        _update_running_statistics(self, mean, variance, x.numel() // x.shape[1])
    if isinstance(self, BatchNormAct2d):
        y = self.get_submodule("act")(self.get_submodule("drop")(y))
    return y


@torch.no_grad()
def _update_running_statistics(self: Any, mean: Tensor, variance: Tensor, count: int) -> None:
    total = count * distributed.get_world_size()
    if self.num_batches_tracked is not None:
        self.num_batches_tracked.add_(1)
    self.running_mean.lerp_(mean, self.momentum)
    self.running_var.lerp_(variance * (total / (total - 1)), self.momentum)  # the unbiased one


class _Normalize(torch.autograd.Function):
    """y = (x - mean) / sqrt(variance + eps) · weight + bias, with statistics of all processes.

    x (B, C, …), weight and bias (C) -> y like x; mean and biased variance float32 (C). The gradient
    is that of Ioffe and Szegedy (arXiv 1502.03167, section 3), its two sums over all processes.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        axes = _axes(x)
        variance, mean = torch.var_mean(x.float(), axes, correction=0)
        means, variances = _of_all(torch.stack([mean, variance])).unbind(1)  # (processes, C) each
        mean = means.mean(0)
        variance = variances.mean(0) + (means - mean).square().mean(0)
        inverse = torch.rsqrt(variance + eps)
        scale = inverse if weight is None else inverse * weight
        shift = -mean * scale if bias is None else bias - mean * scale
        ctx.save_for_backward(x, weight, mean, inverse)
        ctx.mark_non_differentiable(mean, variance)
        y = _per_channel(scale, x) * x + _per_channel(shift, x)
        return y.to(x.dtype), mean, variance

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mean, inverse = ctx.saved_tensors
        gradient, axes = gradients[0].float(), _axes(x)
        normalized = (x.float() - _per_channel(mean, x)) * _per_channel(inverse, x)
        sums = torch.stack([gradient.sum(axes), (gradient * normalized).sum(axes)])  # (2, C)
        bias_gradient, weight_gradient = sums.unbind()  # of this process: DDP takes their mean
        averages = _of_all(sums).mean(0) / (x.numel() // x.shape[1])
        centred = gradient - _per_channel(averages[0], x)
        scale = inverse if weight is None else inverse * weight
        x_gradient = (centred - normalized * _per_channel(averages[1], x)) * _per_channel(scale, x)
        if weight is None:
            return x_gradient.to(x.dtype), None, None, None
        return x_gradient.to(x.dtype), weight_gradient, bias_gradient, None


def _axes(x: Tensor) -> list[int]:
    return [axis for axis in range(x.ndim) if axis != 1]


def _per_channel(values: Tensor, x: Tensor) -> Tensor:
    """Return values (C) as (1, C, 1, …)."""
    return values.view(1, -1, *[1] * (x.ndim - 2))


def _of_all(values: Tensor) -> Tensor:
    """Return the tensors of all processes, (processes, …)."""
    gathered = [torch.empty_like(values) for _ in range(distributed.get_world_size())]
    distributed.all_gather(gathered, values.contiguous())
    return torch.stack(gathered)
