"""Every model by name."""

from __future__ import annotations

import difflib
from functools import cache

from zoo.models.card import ModelCard
from zoo.models.mobileclip.cards import CARDS


def list_models() -> list[ModelCard]:
    """Return the cards of every model, smallest family first."""
    return list(CARDS)


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
    return {key: card for card in CARDS for key in (card.name, *card.aliases)}


def _unknown(name: str) -> str:
    near = difflib.get_close_matches(canonical(name), [card.name for card in CARDS], n=3)
    if near:
        return f"Unknown model '{name}'; did you mean {' or '.join(near)}?"
    return f"Unknown model '{name}'; `zoo list` shows every name, e.g. mobileclip2-s0."
