"""From a card to a model with random weights."""

from __future__ import annotations

from typing import Any

from zoo.models.card import SamClipCard
from zoo.models.image_encoder import build_image_encoder
from zoo.models.sam_clip.clip_head import ClipHead
from zoo.models.sam_clip.mask_decoder import MaskDecoder
from zoo.models.sam_clip.prompt_encoder import PromptEncoder
from zoo.models.sam_clip.sam_clip_model import SamClipModel
from zoo.models.sam_clip.text_tower import build_text_tower


def build_sam_clip(card: SamClipCard) -> SamClipModel:
    """Return the model of `card`, randomly initialised; the CLIP head's blocks are copies of the
    tower's last."""
    encoder: Any = build_image_encoder(card.image, embed_dim=0)
    return SamClipModel(
        card,
        encoder,
        ClipHead(encoder.blocks[-1], card.width, card.embed_dim),
        PromptEncoder(card.decoder),
        MaskDecoder(card.decoder),
        build_text_tower(card.text, card.embed_dim),
        card.preprocessing,
    )
