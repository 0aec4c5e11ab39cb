"""Every model by name."""

from __future__ import annotations

import difflib
from functools import cache
from typing import TypeVar

from zoo.models.card import (
    ImageTextCard,
    ModelCard,
    SamClipCard,
    VisionLanguageCard,
    VisionTowerCard,
)
from zoo.models.fastvlm.cards import CARDS as FASTVLM
from zoo.models.mobileclip.cards import CARDS as MOBILECLIP
from zoo.models.sam_clip.cards import CARDS as SAM_CLIP

Card = TypeVar("Card", bound=ModelCard)

_CARDS: tuple[ModelCard, ...] = (*MOBILECLIP, *FASTVLM, *SAM_CLIP)
_KINDS = {
    ImageTextCard: ("an image-text model", "mobileclip2-s0"),
    SamClipCard: ("a SAM-CLIP model", "sam-clip-vit-b"),
    VisionLanguageCard: ("a vision-language model", "fastvlm-0.5b"),
    VisionTowerCard: ("an image tower alone", "fastvithd"),
}
"""What a kind of card is called, and an example."""


def list_models() -> list[ModelCard]:
    """Return the cards of every model, family by family, the smallest first."""
    return list(_CARDS)


def get_card(name: str) -> ModelCard:
    """Return the card of `name`, in any common spelling.

    Case, underscores, Hugging Face prefixes and open_clip suffixes do not matter:
    `MobileCLIP2-S0`, `mobileclip2_s0` and `apple/MobileCLIP2-S0` are one model.

    Raises ValueError, with the nearest names, for an unknown model.
    """
    card = _by_name().get(canonical(name))
    if card is None:
        raise ValueError(_unknown(name))
    return card


def get_card_of(kind: type[Card], name: str) -> Card:
    """Return the card of `name`, which must be of a kind such as `ImageTextCard`.

    Raises ValueError for an unknown model, and for one of another kind.
    """
    card = get_card(name)
    if not isinstance(card, kind):
        wanted, example = _KINDS[kind]
        raise ValueError(
            f"{card.name} is {_KINDS[type(card)][0]}, but {wanted} is needed here, such as "
            f"{example}."
        )
    return card


def canonical(name: str) -> str:
    """Return `name` in lower case with hyphens, without hub prefix and open_clip suffix."""
    name = name.strip().lower().removeprefix("hf-hub:")
    for owner in ("apple/", "timm/"):
        name = name.removeprefix(owner)
    for sign in "_/ ":
        name = name.replace(sign, "-")
    return name.removesuffix("-openclip")


@cache
def _by_name() -> dict[str, ModelCard]:
    return {key: card for card in _CARDS for key in (card.name, *card.aliases)}


def _unknown(name: str) -> str:
    near = difflib.get_close_matches(canonical(name), [card.name for card in _CARDS], n=3)
    if near:
        return f"Unknown model '{name}'; did you mean {' or '.join(near)}?"
    return f"Unknown model '{name}'; `zoo list` shows every name, e.g. mobileclip2-s0."
