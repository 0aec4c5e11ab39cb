"""Text towers of SAM-CLIP: the frozen one of its CLIP teacher."""

from __future__ import annotations

from torch import nn

from zoo.models.card import TextEncoderConfig, TextTowerConfig
from zoo.models.mobileclip.text_encoder import TextEncoder


def build_text_tower(config: TextTowerConfig, embed_dim: int) -> nn.Module:
    """Return the tower (B, T) int64 → (B, embed_dim) with random weights."""
    assert isinstance(config, TextEncoderConfig)
    return TextEncoder(config, embed_dim)
