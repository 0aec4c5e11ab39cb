"""From a checkpoint to a model: recognise naming and form, load strictly."""

from __future__ import annotations

import os

import torch

from zoo.models.card import ImageTextCard, Naming
from zoo.models.checkpoint import Checkpoint, StateDict, check_written_for, detect_naming
from zoo.models.fit import Form, fit
from zoo.models.image_encoder import resize_image_encoder
from zoo.models.image_text_model import ImageTextModel
from zoo.models.key_table import KeyTable
from zoo.models.mobileclip.build import build_model
from zoo.models.mobileclip.keys import APPLE_MCI, APPLE_VIT, OPEN_CLIP


def assemble(card: ImageTextCard, checkpoint: Checkpoint) -> tuple[ImageTextModel, Form]:
    """Return the model of `card` holding the checkpoint's weights, in the form they have.

    The weights keep their dtype. Raises ValueError when keys or shapes do not fit.
    """
    _check_claims(card, checkpoint)
    naming = detect_naming(checkpoint)
    state = _import_state(card, checkpoint, naming)
    image_size = (checkpoint.preprocessing or card.preprocessing).image_size
    source = f"'{checkpoint.source}' ({naming} naming)"
    model, form = fit(_skeleton(card, image_size), state, source, card.name)
    model.load_state_dict(state, strict=True, assign=True)
    model.set_preprocessing(checkpoint.preprocessing or card.preprocessing)
    return model, form


def require_train_time(form: Form, source: str | os.PathLike[str]) -> None:
    """Raise ValueError for weights of `source` whose train-time branches are gone."""
    if form != "train-time":
        raise ValueError(
            f"'{source}' is already reparameterized and its train-time branches cannot be "
            "recovered; ask for reparameterize=True or give the train-time checkpoint."
        )


def export_state(model: ImageTextModel, naming: Naming) -> StateDict:
    """Return the model's weights in `naming`; the reverse of what `assemble` reads.

    Raises ValueError for a model that the naming cannot hold.
    """
    state = dict(model.state_dict())
    if naming == "zoo":
        return state
    table = _table(model.card, naming)
    if naming == "apple":
        _drop_zero_head_bias(model.card, state)
    return table.export_state(state, model.card.name, naming)


def _check_claims(card: ImageTextCard, checkpoint: Checkpoint) -> None:
    """What the file says of itself must agree with the model asked for."""
    check_written_for(checkpoint, card)
    vision = (checkpoint.open_clip_config or {}).get("vision_cfg", {})
    timm_name = vision.get("timm_model_name", card.image.timm_name)
    if timm_name != card.image.timm_name:
        raise ValueError(
            f"The open_clip config beside '{checkpoint.source}' names the image tower {timm_name}, "
            f"but {card.name} has {card.image.timm_name}; load it under its own model name."
        )


def _table(card: ImageTextCard, naming: Naming) -> KeyTable:
    if naming == "open_clip":
        return OPEN_CLIP
    if card.image.timm_name.startswith("vit_"):
        return APPLE_VIT
    return APPLE_MCI


def _import_state(card: ImageTextCard, checkpoint: Checkpoint, naming: Naming) -> StateDict:
    if naming == "zoo":
        return dict(checkpoint.state)
    state = _table(card, naming).import_state(checkpoint.state)
    if naming == "apple":
        _add_zero_head_bias(card, state)
    return state


def _head(card: ImageTextCard) -> str:
    return "image_encoder.head" if card.image.timm_name.startswith("vit_") else _FASTVIT_HEAD


_FASTVIT_HEAD = "image_encoder.head.fc"


def _add_zero_head_bias(card: ImageTextCard, state: StateDict) -> None:
    # timm's projection has a bias, Apple's has none.
    weight = state.get(f"{_head(card)}.weight")
    if weight is not None:
        state[f"{_head(card)}.bias"] = weight.new_zeros(weight.shape[0])


def _drop_zero_head_bias(card: ImageTextCard, state: StateDict) -> None:
    if state.pop(f"{_head(card)}.bias").count_nonzero():
        raise ValueError(
            f"The image projection of this {card.name} has a bias, which Apple's naming cannot "
            "hold; write it in open_clip's or zoo's naming."
        )


def _skeleton(card: ImageTextCard, image_size: int) -> ImageTextModel:
    with torch.device("meta"):
        model = build_model(card)
        resize_image_encoder(model.image_encoder, image_size)
    return model.eval()
