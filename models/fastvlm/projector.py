"""The projector `mlp2x_gelu`: from the tower's features to the language model's embeddings."""

from __future__ import annotations

from torch import nn


def build_projector(feature_dim: int, hidden_size: int) -> nn.Sequential:
    """Return Linear, GELU, Linear: (…, feature_dim) → (…, hidden_size), with biases
    (`multimodal_projector/builder.py`)."""
    return nn.Sequential(
        nn.Linear(feature_dim, hidden_size), nn.GELU(), nn.Linear(hidden_size, hidden_size)
    )
