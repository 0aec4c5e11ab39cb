"""From a card to a FastVLM with random weights."""

from __future__ import annotations

from zoo.models.card import VisionLanguageCard, VisionTowerCard
from zoo.models.fastvlm.language_model import build_language_model, tiny_tokenizer
from zoo.models.fastvlm.projector import build_projector
from zoo.models.fastvlm.views import Views
from zoo.models.fastvlm.vision_language_model import VisionLanguageModel
from zoo.models.fastvlm.vision_tower import VisionTower
from zoo.models.image_encoder import build_image_encoder

TINY = "fastvlm-tiny"


def build_vision_language_model(card: VisionLanguageCard) -> VisionLanguageModel:
    """Return the train-time model of `card`, randomly initialised.

    fastvlm-tiny has its tokenizer; those of the others come with their weights.
    """
    return VisionLanguageModel(
        card,
        build_image_encoder(card.image, embed_dim=0),
        build_projector(card.feature_dim, card.language.hidden_size),
        build_language_model(card.language),
        Views(preprocessing=card.preprocessing),
        tiny_tokenizer() if card.name == TINY else None,
    )


def build_vision_tower(card: VisionTowerCard, *, with_head: bool = True) -> VisionTower:
    """Return the train-time tower of `card`, randomly initialised."""
    encoder = build_image_encoder(card.image, embed_dim=card.embed_dim if with_head else 0)
    return VisionTower(card, encoder, card.preprocessing)
