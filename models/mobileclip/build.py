"""From a card to a model with random weights."""

from __future__ import annotations

from zoo.models.card import ImageTextCard, TextEncoderConfig
from zoo.models.image_encoder import build_image_encoder
from zoo.models.image_text_model import ImageTextModel
from zoo.models.mobileclip.text_encoder import TextEncoder


def build_model(card: ImageTextCard) -> ImageTextModel:
    """Return the train-time model of `card`, randomly initialised, at the card's image size."""
    assert isinstance(card.text, TextEncoderConfig)
    return ImageTextModel(
        card,
        build_image_encoder(card.image, card.embed_dim),
        TextEncoder(card.text, card.embed_dim),
        card.preprocessing,
    )
