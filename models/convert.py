"""`zoo convert`: a checkpoint from one naming and form to another."""

from __future__ import annotations

import os
from pathlib import Path

from zoo.models.assemble import assemble, export_state, require_train_time
from zoo.models.card import ImageTextCard, Naming
from zoo.models.checkpoint import read_checkpoint, save_weights, write_state
from zoo.models.registry import get_card_of
from zoo.models.reparameterize import merge_branches


def convert_weights(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    model: str,
    naming: Naming = "zoo",
    reparameterize: bool = False,
) -> None:
    """Read the weights of `model` at `source` and write them to `target`, values unchanged.

    `naming` "zoo" writes safetensors that `load_model` reads; "open_clip" and "apple" write
    those projects' keys, to `.safetensors` or `.pt`. Reparameterized weights are folded entirely
    in zoo's naming, and merged as far as the original merges in the other two.

    Raises ValueError for weights that do not fit, or a form that cannot be reached from theirs.
    """
    card = get_card_of(ImageTextCard, model)
    converted, form = assemble(card, read_checkpoint(source))
    if not reparameterize:
        require_train_time(form, source)
    if naming == "zoo":
        save_weights(converted.reparameterize() if reparameterize else converted, target)
        return
    if form == "folded":
        raise ValueError(
            f"'{source}' is folded further than {naming}'s naming can hold; convert the "
            "train-time checkpoint instead."
        )
    if reparameterize:
        merge_branches(converted)
    write_state(export_state(converted, naming), Path(target))
