"""Whether a candidate fits before it is built."""

from __future__ import annotations

import torch

from zoo.models.card import VisionLanguageCard
from zoo.models.devices import free_bytes

_RESERVE = 0.9
"""Share of the free memory that a candidate may take; the rest is other processes'."""
_ACTIVATION_BYTES_PER_PIXEL = 400
"""Of a tower: FastViTHD's peak in float32, 384 channels at a quarter of the side, several times."""


def language_model_parameters(card: VisionLanguageCard) -> int:
    """Parameters of a card's language model, counted without building its values."""
    from zoo.models.fastvlm.language_model import build_language_model

    with torch.device("meta"):
        return sum(p.numel() for p in build_language_model(card.language).parameters())


def activation_bytes(card: VisionLanguageCard, *, tokens: int, pixels: int) -> int:
    """A generous estimate for one picture, in float32.

    The tower's largest maps; in the language model the keys and values of every layer, the widest
    activations of one layer, and the logits of one token.
    """
    numbers = card.language.numbers
    heads = numbers["num_attention_heads"]
    keys_and_values = 2 * numbers["num_key_value_heads"] * numbers["hidden_size"] // heads
    cache = numbers["num_hidden_layers"] * keys_and_values
    layer = 4 * numbers["intermediate_size"] + 8 * numbers["hidden_size"]
    tower = pixels * _ACTIVATION_BYTES_PER_PIXEL
    return tower + 4 * (tokens * (cache + layer) + numbers["vocab_size"])


def why_not(needed: int, device: torch.device) -> str | None:
    """Return why `needed` bytes do not fit into what is free on `device`; None where they do or
    where the system does not say what is free."""
    free = free_bytes(device)
    if free is None or needed <= free * _RESERVE:
        return None
    return f"it takes about {needed / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free on {device}"
