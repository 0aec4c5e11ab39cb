"""`zoo convert` for FastVLM: from one naming to another, with the tokenizer."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from zoo.models.card import Naming, VisionLanguageCard
from zoo.models.checkpoint import read_checkpoint, save_weights
from zoo.models.fastvlm.assemble import assemble_vision_language_model
from zoo.models.fastvlm.folders import write_folder
from zoo.models.fastvlm.language_model import write_tokenizer
from zoo.models.fastvlm.vision_language_model import VisionLanguageModel
from zoo.models.fit import refuse_folded
from zoo.models.registry import get_card_of
from zoo.models.reparameterize import fold_entirely, merge_branches

WEIGHTS = "weights.safetensors"


@torch.no_grad()
def convert_fastvlm(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    model: str,
    naming: Naming = "zoo",
    reparameterize: bool = False,
) -> None:
    """Read the FastVLM `model` at `source` and write it to `target`, values unchanged.

    `naming` "zoo" writes a .safetensors file, or a folder with one, and the tokenizer beside it;
    the tower stays as it is, or is folded entirely with `reparameterize`. "apple" and
    "transformers" write a folder that those projects load; its tower is merged, the only form that
    they build.

    Raises ValueError for weights that do not fit, a naming that FastVLM does not have, a folded
    tower where a merged one is to be written, or a folder that is there already.
    """
    card = get_card_of(VisionLanguageCard, model)
    if naming in ("open_clip", "sam"):
        raise ValueError(
            f"{naming} has no {card.name}; write it in apple's, transformers' or zoo's naming."
        )
    converted, form = assemble_vision_language_model(card, read_checkpoint(source))
    if naming == "zoo":
        if reparameterize:
            fold_entirely(converted.image_encoder)
        _write_own(converted, Path(target))
        return
    refuse_folded(form, source, naming)
    merge_branches(converted.image_encoder)
    write_folder(converted, Path(target), naming)


def _write_own(model: VisionLanguageModel, target: Path) -> None:
    if target.suffix in (".pt", ".pth", ".bin"):
        raise ValueError(
            f"'{target}' must end in .safetensors, or be a folder: the file's header says which "
            "language model it holds."
        )
    path = target if target.suffix == ".safetensors" else target / WEIGHTS
    save_weights(model, path)
    if model.has_tokenizer:
        write_tokenizer(model.tokenizer, path.parent)
