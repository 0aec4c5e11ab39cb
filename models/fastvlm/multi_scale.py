"""Features of every stage of the tower, side by side: the multi-scale option of the paper.

Section 3.1 of arXiv 2412.13303 and its table 4: features of earlier stages are pooled to the grid
of the last ones, by average pooling or by depthwise convolutions, and read by the projector
together with them. It was tried on FastViT at 768 pixels (62.6 without, 62.7 and 62.9 with, on
average over five benchmarks whose standard deviation is 0.1); no published weights have it. The
paper gives neither kernels nor which stages: here all stages before the last, each cell of the last
grid pooled from the pixels that lie in it, without overlap, bias or norm. The convolutions begin
as the average.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from zoo.models.card import MultiScale


class MultiScalePooling(nn.Module):
    """Pools features of earlier stages and joins them to the last ones."""

    def __init__(self, widths: Sequence[int], factors: Sequence[int], kind: MultiScale) -> None:
        """`widths`: channels of the earlier stages. `factors`: how much finer their grids are."""
        super().__init__()
        self.added_width = sum(widths)
        """How many channels are joined to the last ones."""
        self.pools = nn.ModuleList(
            nn.AvgPool2d(factor) if kind == "average" else _averaging_convolution(width, factor)
            for width, factor in zip(widths, factors, strict=True)
        )

    def forward(self, earlier: Sequence[Tensor], last: Tensor) -> Tensor:
        """Return (B, added_width + C, h, w) of `earlier` (B, Cᵢ, h · fᵢ, w · fᵢ) and `last`
        (B, C, h, w)."""
        pooled = [pool(features) for pool, features in zip(self.pools, earlier, strict=True)]
        return torch.cat([*pooled, last], dim=1)


def build_multi_scale_pooling(
    image_encoder: nn.Module, kind: MultiScale | None
) -> MultiScalePooling | None:
    """Return the pooling that suits a timm tower, whose `feature_info` knows its stages; None for
    None."""
    if kind is None:
        return None
    stages: Any = image_encoder.feature_info
    reductions = [stage["reduction"] for stage in stages]
    return MultiScalePooling(
        widths=[stage["num_chs"] for stage in stages[:-1]],
        factors=[reductions[-1] // reduction for reduction in reductions[:-1]],
        kind=kind,
    )


def multi_scale_features(
    image_encoder: nn.Module, pooling: MultiScalePooling, images: Tensor
) -> Tensor:
    """Return a tower's features at all scales (B, C, h, w) of images (B, 3, H, W), where H and W
    are multiples of the tower's stride."""
    encoder: Any = image_encoder
    earlier = list(range(len(pooling.pools)))
    last, features = encoder.forward_intermediates(images, indices=earlier)
    return pooling(features, last)


def _averaging_convolution(width: int, factor: int) -> nn.Conv2d:
    convolution = nn.Conv2d(width, width, factor, stride=factor, groups=width, bias=False)
    nn.init.constant_(convolution.weight, 1 / factor**2)
    return convolution
