"""The towers as an app uses them: pixels or tokens in, features out."""

from __future__ import annotations

import copy
from dataclasses import replace

import torch
from torch import Tensor, nn

from zoo.export.part import PIXEL_SCALE
from zoo.models.fastvlm.vision_language_model import VisionLanguageModel
from zoo.models.fastvlm.vision_tower import VisionTower, feature_tokens
from zoo.models.image_text_model import ImageTextModel
from zoo.models.preprocess import Preprocessing

SMALLEST_PEAK = 1e-4
"""Keeps an all-zero feature from being divided by zero; representable in float16."""


class ImageTower(nn.Module):
    """Pixels 0…255 times PIXEL_SCALE (1, 3, H, W) → image features (1, D) of unit length."""

    def __init__(self, model: ImageTextModel) -> None:
        super().__init__()
        self.preprocessing = at_pixel_scale(model.preprocessing)
        self.image_encoder = copy.deepcopy(model.image_encoder)
        take_pixel_scale(self.image_encoder)

    def forward(self, image: Tensor) -> Tensor:
        return unit_length(self.image_encoder(self.preprocessing.normalize(image)))


class TextTower(nn.Module):
    """Token ids int32 (1, context) → text features (1, D) of unit length."""

    def __init__(self, model: ImageTextModel) -> None:
        super().__init__()
        self.text_encoder = model.text_encoder

    def forward(self, text: Tensor) -> Tensor:
        return unit_length(self.text_encoder(text))


class VisionTokens(nn.Module):
    """Pixels 0…255 times PIXEL_SCALE (1, 3, H, W) → a tower's tokens (1, N, width), projected
    where the model has a projector."""

    def __init__(self, model: VisionLanguageModel | VisionTower) -> None:
        super().__init__()
        has_projector = isinstance(model, VisionLanguageModel)
        self.preprocessing = at_pixel_scale(model.preprocessing)
        self.image_encoder = copy.deepcopy(model.image_encoder)
        self.multi_scale = model.multi_scale if has_projector else None
        self.projector = model.projector if has_projector else nn.Identity()
        take_pixel_scale(self.image_encoder)

    def forward(self, image: Tensor) -> Tensor:
        image = self.preprocessing.normalize(image)
        return self.projector(feature_tokens(self.image_encoder, image, self.multi_scale))


def unit_length(features: Tensor) -> Tensor:
    """Divide features (B, D) by their L2 norm without leaving the range of float16.

    Squares of values above 256 or below 2e-4 do not fit, so the largest is scaled to 1 first.
    """
    features = features / features.abs().amax(dim=-1, keepdim=True).clamp_min(SMALLEST_PEAK)
    return features / torch.linalg.vector_norm(features, dim=-1, keepdim=True)


def at_pixel_scale(preprocessing: Preprocessing) -> Preprocessing:
    """Return the normalisation for pixels at PIXEL_SCALE, but for its factor 255 · PIXEL_SCALE."""
    ratio = 255 * PIXEL_SCALE
    # (p / 255 - mean) / std = (p · PIXEL_SCALE - mean · ratio) / std / ratio
    return replace(preprocessing, mean=tuple(value * ratio for value in preprocessing.mean))


def take_pixel_scale(image_encoder: nn.Module) -> None:
    """Move that last factor into the first convolution, in place."""
    first = next(module for module in image_encoder.modules() if isinstance(module, nn.Conv2d))
    first.weight.data /= 255 * PIXEL_SCALE
