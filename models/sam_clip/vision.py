"""SAM's image tower at any size: timm's, read before its neck."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn


def image_tokens(encoder: nn.Module, image: Tensor) -> Tensor:
    """Return tokens (B, h, w, width) of normalised pictures (B, 3, height, width).

    Positions are interpolated to the picture's grid. Raises ValueError for sides that the stride
    does not divide.
    """
    from timm.layers.pos_embed import resample_abs_pos_embed_nhwc

    tower: Any = encoder
    stride = tower.patch_embed.patch_size[0]
    if any(side % stride or not side for side in image.shape[2:]):
        raise ValueError(
            f"The picture is {image.shape[3]}x{image.shape[2]} pixels; give sides that are "
            f"multiples of {stride}."
        )
    tokens = tower.patch_embed(image)
    positions = resample_abs_pos_embed_nhwc(tower.pos_embed, tokens.shape[1:3])
    return tower.blocks(tower.norm_pre(tokens + positions))
