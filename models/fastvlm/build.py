"""From a card to a FastVLM with random weights."""

from __future__ import annotations

from typing import Any

import torch

from zoo.models.card import VisionLanguageCard, VisionTowerCard
from zoo.models.fastvlm.language_model import build_language_model, tiny_tokenizer
from zoo.models.fastvlm.multi_scale import build_multi_scale_pooling
from zoo.models.fastvlm.projector import build_projector
from zoo.models.fastvlm.views import Views
from zoo.models.fastvlm.vision_language_model import VisionLanguageModel
from zoo.models.fastvlm.vision_tower import VisionTower
from zoo.models.image_encoder import build_image_encoder

TINY = "fastvlm-tiny"


def build_vision_language_model(
    card: VisionLanguageCard, language_dtype: torch.dtype | None = None
) -> VisionLanguageModel:
    """Return the train-time model of `card`, randomly initialised.

    `language_dtype`: of the language model, float32 unless asked; tower and projector are float32.
    fastvlm-tiny has its tokenizer; those of the others come with their weights.
    """
    return build_around(
        card,
        build_language_model(card.language, language_dtype),
        Views(preprocessing=card.preprocessing),
        own_tokenizer(card),
    )


def build_around(
    card: VisionLanguageCard, language_model: Any, views: Views, tokenizer: Any | None
) -> VisionLanguageModel:
    """Return a model that has the language model given, its train-time tower and projector
    randomly initialised."""
    image_encoder = build_image_encoder(card.image, embed_dim=0)
    multi_scale = build_multi_scale_pooling(image_encoder, card.multi_scale)
    added_width = 0 if multi_scale is None else multi_scale.added_width
    projector = build_projector(card.feature_dim + added_width, card.language.hidden_size)
    return VisionLanguageModel(
        card, image_encoder, projector, language_model, views, tokenizer, multi_scale
    )


def own_tokenizer(card: VisionLanguageCard) -> Any | None:
    """Return the tokenizer that ships with us, None where it comes with the weights."""
    return tiny_tokenizer() if card.name == TINY else None


def build_vision_tower(card: VisionTowerCard, *, with_head: bool = True) -> VisionTower:
    """Return the train-time tower of `card`, randomly initialised."""
    encoder = build_image_encoder(card.image, embed_dim=card.embed_dim if with_head else 0)
    return VisionTower(card, encoder, card.preprocessing)
