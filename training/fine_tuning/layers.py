"""The place of every parameter in its tower: how many blocks lie between it and the output.

A tower is a bottom (stem or embeddings), blocks, and a top (what maps the last block's output to
the embedding). What leads into a stage of a convolutional tower (`downsample`, `pos_emb`) belongs
to the first block of the stage.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from zoo.training.fine_tuning.settings import TOWERS

_BOTTOM = re.compile(
    r"(stem|patch_embed|cls_token|pos_embed|norm_pre|token_embedding|positional_embedding)\b"
)
_BLOCK = re.compile(r"(?:stages\.(?P<stage>\d+)\.)?(?:blocks\.(?P<block>\d+)|downsample|pos_emb)\b")
_TOP = re.compile(r"(final_conv|norm|head|projection)\b")

_Place = tuple[float, int]
_FIRST: _Place = (-1.0, 0)
_LAST: _Place = (float("inf"), 0)


def tower_of(name: str) -> str | None:
    """Return "image_encoder" or "text_encoder"; None for what belongs to no tower (logit_scale)."""
    return next((tower for tower in TOWERS if name.startswith(f"{tower}.")), None)


def distances_from_top(names: Iterable[str]) -> dict[str, int]:
    """Return for each parameter how far below the top of its tower it is.

    0 is the top, and what belongs to no tower; n is the n-th block from the top; the bottom is one
    further than the lowest block. Takes the names of all parameters of an `ImageTextModel`, as they
    are or with adapters. Raises ValueError for a name that has no place in the table.
    """
    places: dict[str | None, dict[str, _Place]] = {}
    for name in names:
        tower = tower_of(name)
        place = _LAST if tower is None else _place(name, name.removeprefix(f"{tower}."))
        places.setdefault(tower, {})[name] = place
    return {name: n for tower in places.values() for name, n in _ranks_from_top(tower).items()}


def _place(name: str, inside: str) -> _Place:
    if _BOTTOM.match(inside):
        return _FIRST
    if match := _BLOCK.match(inside):
        return float(match["stage"] or 0), int(match["block"] or 0)
    if _TOP.match(inside):
        return _LAST
    raise ValueError(
        f"The parameter '{name}' has no place in the table of layers; add its layer to "
        "training/fine_tuning/layers.py."
    )


def _ranks_from_top(places: dict[str, _Place]) -> dict[str, int]:
    ordered = sorted({*places.values(), _LAST}, reverse=True)
    return {name: ordered.index(place) for name, place in places.items()}
