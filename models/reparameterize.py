"""Structural reparameterization: train-time branches become single convolutions.

Two steps, each in place and each harmless when repeated:

1. `merge_branches` replaces every multi-branch block (MobileOne, large-kernel convolution,
   RepMixer, conditional position encoding) by one convolution. This is what the original
   and timm call reparameterized, and their `reparam_conv` keys.
2. `fold_norms_and_scales` folds what they leave: the BatchNorm behind the depthwise convolution
   of each conv-FFN and of MobileCLIP-B's stem, the BatchNorm in front of attention, and the
   layer scales.

All arithmetic is in float64. Source of the formulas: `mobileone.py`, `replknet.py`, `mci.py`,
`repmixer.py` of the original; MobileOne (arXiv 2206.04040), FastViT (arXiv 2303.14189).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from zoo.models.mobileclip import text_encoder as text

Affine = tuple[Tensor, Tensor]
"""Kernel and bias in float64: (out, in / groups, height, width) and (out,)."""


class MergedConv(nn.Module):
    """What a multi-branch block becomes: one convolution, then the block's own `se` and `act`."""

    def __init__(self, conv: nn.Conv2d, se: nn.Module, act: nn.Module) -> None:
        super().__init__()
        self.reparam_conv = conv
        self.se = se
        self.act = act

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.se(self.reparam_conv(x)))


def fold_entirely(model: nn.Module) -> None:
    """Bring `model` into the form for inference, in place: both steps, one after the other."""
    merge_branches(model)
    fold_norms_and_scales(model)


def merge_branches(model: nn.Module) -> None:
    """Replace every multi-branch block inside `model` by a `MergedConv`, in place."""
    mergers = _mergers()
    for name, child in model.named_children():
        merger = mergers.get(type(child))
        if merger is None:
            merge_branches(child)
        else:
            setattr(model, name, merger(child))


def fold_norms_and_scales(model: nn.Module) -> None:
    """Fold the BatchNorms and layer scales that `merge_branches` leaves, in place."""
    folders = _folders()
    for module in list(model.modules()):
        folder = folders.get(type(module))
        if folder is not None:
            folder(module)


@cache
def _mergers() -> dict[type, Callable[[Any], MergedConv]]:
    from timm.models import fastvit

    return {
        fastvit.MobileOneBlock: _merge_mobileone,
        fastvit.ReparamLargeKernelConv: _merge_large_kernel,
        fastvit.RepConditionalPosEnc: _merge_position_encoding,
        fastvit.RepMixer: _merge_repmixer,
        text.RepMixer: _merge_repmixer,
    }


@cache
def _folders() -> dict[type, Callable[[Any], None]]:
    from timm.layers.conv_bn_act import ConvNormAct
    from timm.models import fastvit

    return {
        ConvNormAct: _fold_conv_norm,
        text.ConvNorm: _fold_conv_norm,
        fastvit.RepMixerBlock: _fold_repmixer_block,
        text.RepMixerBlock: _fold_text_repmixer_block,
        fastvit.AttentionBlock: _fold_attention_block,
    }


# --- merging ---------------------------------------------------------------------------------


def _merge_mobileone(block: Any) -> MergedConv:
    conv = block.conv_kxk[0].conv
    return MergedConv(_conv_like(conv, _mobileone_affine(block, conv)), block.se, block.act)


def _merge_large_kernel(block: Any) -> MergedConv:
    conv = block.large_conv.conv
    large = _conv_norm_affine(block.large_conv)
    small = _conv_norm_affine(block.small_conv)
    merged = _sum([large, small], conv.kernel_size)
    return MergedConv(_conv_like(conv, merged), block.se, block.act)


def _merge_position_encoding(block: Any) -> MergedConv:
    """x + conv(x)."""
    conv = block.pos_enc
    merged = _sum([_identity(conv), (conv.weight.double(), conv.bias.double())], conv.kernel_size)
    return MergedConv(_conv_like(conv, merged), nn.Identity(), nn.Identity())


def _merge_repmixer(block: Any) -> MergedConv:
    """x + gamma · (mixer(x) − norm(x))."""
    conv = block.mixer.conv_kxk[0].conv
    mixer = _mobileone_affine(block.mixer, conv)
    norm = _batch_norm_affine(block.norm.identity, conv)
    gamma = block.layer_scale.gamma.double().flatten()
    difference = _sum([mixer, (-norm[0], -norm[1])], conv.kernel_size)
    merged = _sum([_identity(conv), _scale_output(difference, gamma)], conv.kernel_size)
    return MergedConv(_conv_like(conv, merged), nn.Identity(), nn.Identity())


def _mobileone_affine(block: Any, conv: nn.Conv2d) -> Affine:
    """Sum of the skip BatchNorm, the k×k and the 1×1 branch, whichever the block has."""
    branches = [_conv_norm_affine(branch) for branch in block.conv_kxk]
    scale = getattr(block, "conv_scale", None)
    if scale is not None:
        branches.append(_conv_norm_affine(scale))
    if block.identity is not None:
        branches.append(_batch_norm_affine(block.identity, conv))
    return _sum(branches, conv.kernel_size)


# --- folding ---------------------------------------------------------------------------------


def _fold_conv_norm(module: Any) -> None:
    """conv → BatchNorm (→ activation) becomes conv with bias (→ activation)."""
    if not isinstance(module.bn, nn.BatchNorm2d):
        return
    module.conv = _conv_like(module.conv, _conv_norm_affine(module))
    module.bn = getattr(module.bn, "act", nn.Identity())


def _fold_repmixer_block(block: Any) -> None:
    block.layer_scale = _fold_scale(block.layer_scale, block.mlp.fc2)


def _fold_text_repmixer_block(block: Any) -> None:
    block.layer_scale = _fold_scale(block.layer_scale, block.conv_mlp.fc2)


def _fold_attention_block(block: Any) -> None:
    block.layer_scale_1 = _fold_scale(block.layer_scale_1, block.token_mixer.proj)
    block.layer_scale_2 = _fold_scale(block.layer_scale_2, block.mlp.fc2)
    if isinstance(block.norm, nn.BatchNorm2d):
        _fold_batch_norm_into_next(block.norm, block.token_mixer.qkv)
        block.norm = nn.Identity()


def _fold_scale(scale: Any, layer: nn.Linear | nn.Conv2d) -> nn.Identity:
    """layer(x) · gamma: the scale goes into the layer's rows."""
    if not isinstance(scale, nn.Identity):
        gamma = scale.gamma.double().flatten()
        assert layer.bias is not None
        _set(layer, _scale_output((layer.weight.double(), layer.bias.double()), gamma))
    return nn.Identity()


def _fold_batch_norm_into_next(norm: nn.BatchNorm2d, layer: nn.Linear) -> None:
    """layer(norm(x)): the norm's scale goes into the columns, its shift into the bias."""
    scale, shift = _batch_norm_scale_and_shift(norm)
    weight = layer.weight.double()
    bias = weight @ shift
    if layer.bias is not None:
        bias = bias + layer.bias.double()
    _set(layer, (weight * scale, bias))


# --- the algebra -----------------------------------------------------------------------------


def _batch_norm_scale_and_shift(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """s = γ / √(σ² + ε), t = β − μ · s; each (channels,)."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()
    return scale, norm.bias.double() - norm.running_mean.double() * scale


def _conv_norm_affine(branch: Any) -> Affine:
    scale, shift = _batch_norm_scale_and_shift(branch.bn)
    weight, bias = _scale_output((branch.conv.weight.double(), torch.zeros_like(shift)), scale)
    return weight, bias + shift


def _batch_norm_affine(norm: nn.BatchNorm2d, conv: nn.Conv2d) -> Affine:
    """The BatchNorm as a convolution with the shape of `conv`."""
    scale, shift = _batch_norm_scale_and_shift(norm)
    return _identity(conv)[0] * scale.view(-1, 1, 1, 1), shift


def _identity(conv: nn.Conv2d) -> Affine:
    """The kernel with the shape of `conv` that leaves its input as it is."""
    weight = torch.zeros(conv.weight.shape, dtype=torch.float64, device=conv.weight.device)
    channel = torch.arange(weight.shape[0], device=weight.device)
    height, width = weight.shape[2] // 2, weight.shape[3] // 2
    weight[channel, channel % weight.shape[1], height, width] = 1
    return weight, torch.zeros_like(weight[:, 0, 0, 0])


def _sum(parts: list[Affine], kernel_size: tuple[int, ...]) -> Affine:
    """Add parallel branches; smaller kernels are centred in `kernel_size`."""
    weights = [_centre(weight, kernel_size) for weight, _ in parts]
    return torch.stack(weights).sum(0), torch.stack([bias for _, bias in parts]).sum(0)


def _centre(weight: Tensor, kernel_size: tuple[int, ...]) -> Tensor:
    height = (kernel_size[0] - weight.shape[2]) // 2
    width = (kernel_size[1] - weight.shape[3]) // 2
    return nn.functional.pad(weight, (width, width, height, height))


def _scale_output(affine: Affine, scale: Tensor) -> Affine:
    weight, bias = affine
    return weight * scale.view(-1, *[1] * (weight.ndim - 1)), bias * scale


def _conv_like(conv: nn.Conv2d, affine: Affine) -> nn.Conv2d:
    """A convolution with bias, otherwise as `conv`, holding `affine`."""
    merged = nn.Conv2d(
        conv.in_channels,
        conv.out_channels,
        conv.kernel_size,  # pyright: ignore[reportArgumentType]
        stride=conv.stride,  # pyright: ignore[reportArgumentType]
        padding=conv.padding,  # pyright: ignore[reportArgumentType]
        groups=conv.groups,
        device="meta",
    )
    merged.weight = conv.weight
    _set(merged, affine)
    return merged


def _set(layer: nn.Conv2d | nn.Linear, affine: Affine) -> None:
    """Give `layer` new values in its own dtype, trainable as before."""
    before = layer.weight
    weight, bias = (value.detach().to(before.dtype) for value in affine)
    layer.weight = nn.Parameter(weight, requires_grad=before.requires_grad)
    layer.bias = nn.Parameter(bias, requires_grad=before.requires_grad)
