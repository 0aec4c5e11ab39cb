"""The towers as an app uses them: pixels or tokens in, features of unit length out."""

from __future__ import annotations

import copy
from dataclasses import replace

import torch
from torch import Tensor, nn

from zoo.models.image_text_model import ImageTextModel

PIXEL_SCALE = 1 / 256
"""Factor on pixels at the input of the package, a power of two: float16 holds every pixel exactly,
where pixels / 255 are rounded by up to an eighth of a step. Relative L2 error of a half-precision
image tower with 1/255 and with 1/256: trained mobileclip-tiny 3.5e-3 and 2.6e-3, random
mobileclip2-s0 2.4e-3 and 1.9e-3."""
SMALLEST_PEAK = 1e-4
"""Keeps an all-zero feature from being divided by zero; representable in float16."""


class ImageTower(nn.Module):
    """Pixels 0…255 times PIXEL_SCALE (1, 3, H, W) → image features (1, D) of unit length."""

    def __init__(self, model: ImageTextModel) -> None:
        super().__init__()
        ratio = 255 * PIXEL_SCALE
        # (p / 255 - mean) / std = (p · PIXEL_SCALE - mean · ratio) / std / ratio
        mean = tuple(value * ratio for value in model.preprocessing.mean)
        self.preprocessing = replace(model.preprocessing, mean=mean)
        self.image_encoder = copy.deepcopy(model.image_encoder)
        _first_convolution(self.image_encoder).weight.data /= ratio

    def forward(self, image: Tensor) -> Tensor:
        return unit_length(self.image_encoder(self.preprocessing.normalize(image)))


class TextTower(nn.Module):
    """Token ids int32 (1, context) → text features (1, D) of unit length."""

    def __init__(self, model: ImageTextModel) -> None:
        super().__init__()
        self.text_encoder = model.text_encoder

    def forward(self, text: Tensor) -> Tensor:
        return unit_length(self.text_encoder(text))


def unit_length(features: Tensor) -> Tensor:
    """Divide features (B, D) by their L2 norm without leaving the range of float16.

    Squares of values above 256 or below 2e-4 do not fit, so the largest is scaled to 1 first.
    """
    features = features / features.abs().amax(dim=-1, keepdim=True).clamp_min(SMALLEST_PEAK)
    return features / torch.linalg.vector_norm(features, dim=-1, keepdim=True)


def example_images(size: int, count: int = 2) -> list[Tensor]:
    """Return `count` pictures float (1, 3, size, size) in 0…255, smooth and full-range.

    White noise averages out in a deep network, so that all its pictures have one feature.
    """
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(count, 3, 5, 5, generator=generator)
    pictures = nn.functional.interpolate(coarse, size=(size, size), mode="bilinear")
    return [picture[None].mul(255).round() for picture in pictures]


def example_texts(context_length: int, vocab_size: int, count: int = 3) -> list[Tensor]:
    """Return `count` texts int32 (1, context): random tokens, the end token, padding zeros.

    Lengths run from a few tokens to the whole context, so that the end token, the largest id,
    stands at different places.
    """
    generator = torch.Generator().manual_seed(0)
    end_token = vocab_size - 1
    texts = torch.randint(1, end_token, (count, context_length), generator=generator)
    for row, text in enumerate(texts):
        end = max(1, (row + 1) * context_length // count - 1)
        text[end] = end_token
        text[end + 1 :] = 0
    return [text[None].to(torch.int32) for text in texts]


def _first_convolution(encoder: nn.Module) -> nn.Conv2d:
    return next(module for module in encoder.modules() if isinstance(module, nn.Conv2d))
