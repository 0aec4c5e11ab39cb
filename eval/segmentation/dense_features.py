"""A feature in the text tower's space for every patch of a picture, of any image-text model.

SAM-CLIP is made for it. For plain models this is the baseline of MaskCLIP (arXiv 2112.01071,
section 3.2), which trains nothing: what makes one feature of all places is left out, and the
projection that follows is applied to each place.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from zoo.models.sam_clip.sam_clip_model import SamClipModel

if TYPE_CHECKING:
    from zoo.models.image_text_model import ImageTextModel

DenseFeatures = Callable[[Tensor], Tensor]


def dense_features_of(model: ImageTextModel) -> DenseFeatures:
    """Return the function from normalised pictures (B, 3, H, W) to features (B, h, w, embed_dim),
    not normalised, on the model's device.

    Raises ValueError for a tower of unknown form, and the function raises it for sides that the
    patches of a transformer do not divide.
    """
    if isinstance(model, SamClipModel):
        return model.dense_features
    from timm.models.fastvit import FastVit
    from timm.models.vision_transformer import VisionTransformer

    tower: Any = model.image_encoder
    if isinstance(tower, FastVit):
        return lambda images: _of_convolutions(tower, images)
    if isinstance(tower, VisionTransformer):
        return lambda images: _of_transformer(tower, images)
    raise ValueError(
        f"{model.card.name} has an image tower of class {type(tower).__name__}; dense features are "
        "known of FastViT, of timm's VisionTransformer and of SAM-CLIP."
    )


def _of_convolutions(tower: Any, images: Tensor) -> Tensor:
    """The pooling is a mean and what follows is linear: the mean of these is the plain feature."""
    features = tower.forward_features(images)  # (B, C, h, w)
    return tower.head.fc(features.permute(0, 2, 3, 1))


def _of_transformer(tower: Any, images: Tensor) -> Tensor:
    """In the last block each token attends to itself alone: its value goes through the output
    projection, the residual connection and the MLP stay, as in MaskCLIP's own code for ViTs.
    """
    tokens, grid = _embedded(tower, images)
    tokens = tower.blocks[:-1](tower.norm_pre(tokens))
    itself = torch.eye(tokens.shape[1], dtype=torch.bool, device=tokens.device)
    tokens = tower.norm(tower.blocks[-1](tokens, attn_mask=itself))[:, tower.num_prefix_tokens :]
    return tower.head(tower.fc_norm(tokens)).unflatten(1, grid)


def _embedded(tower: Any, images: Tensor) -> tuple[Tensor, list[int]]:
    """Tokens (B, 1 + h·w, C) with positions, at any size, and the grid (h, w).

    timm's own embedding takes one size only, which `set_input_size` changes for good.
    """
    from timm.layers.pos_embed import resample_abs_pos_embed

    embed = tower.patch_embed
    stride = embed.img_size[0] // embed.grid_size[0]
    if any(side % stride or not side for side in images.shape[2:]):
        raise ValueError(
            f"The picture is {images.shape[3]}x{images.shape[2]} pixels; give sides that are "
            f"multiples of {stride}."
        )
    backbone = getattr(embed, "backbone", None)
    places = embed.proj(images if backbone is None else backbone(images))  # (B, C, h, w)
    grid = list(places.shape[2:])
    tokens = places.flatten(2).transpose(1, 2)
    token = tower.cls_token.expand(len(tokens), -1, -1)
    if tower.no_embed_class:  # the class token has no position
        positions = resample_abs_pos_embed(tower.pos_embed, grid, num_prefix_tokens=0)
        return torch.cat([token, tokens + positions], dim=1), grid
    positions = resample_abs_pos_embed(tower.pos_embed, grid, num_prefix_tokens=1)
    return torch.cat([token, tokens], dim=1) + positions, grid
