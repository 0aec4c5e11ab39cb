"""`zoo convert`: a checkpoint from one naming and form to another."""

from __future__ import annotations

import os
from pathlib import Path

from zoo.models.assemble import assemble, export_state, require_train_time
from zoo.models.card import ImageTextCard, Naming, SamClipCard, VisionLanguageCard
from zoo.models.checkpoint import read_checkpoint, save_weights, write_state
from zoo.models.fastvlm.convert import convert_fastvlm
from zoo.models.fit import refuse_folded
from zoo.models.registry import get_card, get_card_of
from zoo.models.reparameterize import merge_branches
from zoo.models.sam_clip.convert import convert_sam_clip


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
    in zoo's naming, and merged as far as the original merges in the other two. Of FastVLM and
    SAM-CLIP see `zoo.models.fastvlm.convert` and `zoo.models.sam_clip.convert`.

    Raises ValueError for weights that do not fit, a naming that the model does not have, or a form
    that cannot be reached from theirs.
    """
    if isinstance(get_card(model), VisionLanguageCard):
        convert_fastvlm(source, target, model=model, naming=naming, reparameterize=reparameterize)
        return
    card = get_card_of(ImageTextCard, model)
    if isinstance(card, SamClipCard):
        convert_sam_clip(source, target, model=model, naming=naming, reparameterize=reparameterize)
        return
    if naming in ("transformers", "sam"):
        raise ValueError(f"{naming} has no {model}; write it in open_clip's naming.")
    converted, form = assemble(card, read_checkpoint(source))
    if not reparameterize:
        require_train_time(form, source)
    if naming == "zoo":
        save_weights(converted.reparameterize() if reparameterize else converted, target)
        return
    refuse_folded(form, source, naming)
    if reparameterize:
        merge_branches(converted)
    write_state(export_state(converted, naming), Path(target))
