"""What probes read of a frozen model: a grid of features for every picture."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from torch import Tensor

from zoo.eval.segmentation.dense_features import dense_features_of
from zoo.models.image_text_model import ImageTextModel
from zoo.models.sam_clip.sam_clip_model import SamClipModel

Where = Literal["tower", "text"]
"""The tower's last tokens, of whatever width, or the features of patches in the text's space."""

FeatureGrid = Callable[[Tensor], Tensor]
"""Normalised pictures (B, 3, S, S) → features (B, C, h, w)."""


def feature_grid(model: ImageTextModel, where: Where) -> FeatureGrid:
    """Return the function that gives `model`'s features of every patch.

    SAM-CLIP's paper probes "the representations" and does not say where it takes them. "tower" are
    what both of SAM-CLIP's heads read, before SAM's neck: a SAM's and a SAM-CLIP's have the same
    width and place; of other models the tower's tokens before pooling, without class tokens.
    "text" are those that zero-shot segmentation compares with words. Neither is normalised.

    Raises ValueError for a model whose tower has no such features.
    """
    if where == "text":
        dense: Any = dense_features_of(model)
        return lambda image: dense(image).permute(0, 3, 1, 2)
    if isinstance(model, SamClipModel):
        return lambda image: model.tokens(image).permute(0, 3, 1, 2)
    return _tower_grid(model)


def _tower_grid(model: ImageTextModel) -> FeatureGrid:
    tower: Any = model.image_encoder
    if not hasattr(tower, "forward_features"):
        raise ValueError(
            f"{model.card.name} has an image tower without a grid of features; probe a model of "
            "`zoo list`."
        )

    def grid(image: Tensor) -> Tensor:
        features = tower.forward_features(image)
        if features.ndim == 4:
            return features
        tokens = features[:, tower.num_prefix_tokens :]
        height, width = tower.patch_embed.grid_size
        return tokens.transpose(1, 2).unflatten(2, (height, width))

    return grid
