"""Heads that are trained on frozen features: they show what the features hold."""

from __future__ import annotations

from typing import Literal, get_args

from torch import nn

HeadName = Literal["linear", "deeplab"]
_STD = 0.01
"""Of the linear head's weights at first, so that it begins with hardly an opinion."""


def build_head(name: HeadName, channels: int, classes: int) -> nn.Module:
    """Return a head (B, channels, h, w) → logits (B, classes, h, w).

    "linear": BatchNorm without parameters of its own and a 1×1 convolution; towers end in features
    of very different size, which the norm takes out of the comparison (DINOv2's linear evaluation
    has one, too). "deeplab": torchvision's head of DeepLabv3 (arXiv 1706.05587) with its atrous
    rates 12, 24 and 36.
    """
    if name == "linear":
        classifier = nn.Conv2d(channels, classes, 1)
        for parameter in classifier.parameters():
            nn.init.normal_(parameter, std=_STD)
        return nn.Sequential(nn.BatchNorm2d(channels, affine=False), classifier)
    if name == "deeplab":
        from torchvision.models.segmentation.deeplabv3 import DeepLabHead

        return DeepLabHead(channels, classes)
    raise ValueError(f"Unknown head '{name}'; give {' or '.join(get_args(HeadName))}.")
