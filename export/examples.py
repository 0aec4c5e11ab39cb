"""Inputs on which packages are compared with their models."""

from __future__ import annotations

import torch
from torch import Tensor, nn


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
