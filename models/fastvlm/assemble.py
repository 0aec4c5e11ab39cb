"""From a checkpoint to a FastVLM or its tower: recognise naming and form, load strictly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch

from zoo.models.card import Naming, VisionLanguageCard, VisionTowerCard
from zoo.models.checkpoint import Checkpoint, StateDict, check_written_for, without_ties
from zoo.models.fastvlm.build import build_around, build_vision_tower, own_tokenizer
from zoo.models.fastvlm.keys import detect_naming, import_state, import_tower_state, table_of
from zoo.models.fastvlm.language_model import (
    build_language_model_for,
    embedding_names,
    read_tokenizer,
)
from zoo.models.fastvlm.settings import Settings, apple_views, read_config, read_settings
from zoo.models.fastvlm.vision_language_model import VisionLanguageModel
from zoo.models.fastvlm.vision_tower import VisionTower
from zoo.models.fit import Form, fit
from zoo.models.preprocess import Preprocessing
from zoo.models.registry import get_card

_LANGUAGE = "language_model."
_HEAD = "image_encoder.head.fc.weight"
_CLIP_WITH_THIS_TOWER = "mobileclip2-s3"
_CLIP_TEXT = ("text.", "text_encoder.")


def assemble_vision_language_model(
    card: VisionLanguageCard, checkpoint: Checkpoint
) -> tuple[VisionLanguageModel, Form]:
    """Return the model of `card` holding the checkpoint's weights, in the form that its tower has.

    The language model is the checkpoint's own, of any architecture and vocabulary; the returned
    model's card says which. The weights keep their dtype and are not copied. The tokenizer lies in
    the checkpoint's folder. Raises ValueError when keys or shapes do not fit.
    """
    check_written_for(checkpoint, card)
    naming = detect_naming(checkpoint)
    state = import_state(checkpoint, naming)
    skeleton = _skeleton(card, checkpoint, read_settings(card, checkpoint, naming), state)
    ties = _tied_head(skeleton, state)
    source = f"'{checkpoint.source}' ({naming} naming)"
    model, form = fit(skeleton, state | ties, source, card.name)
    model.load_state_dict(state | ties, strict=True, assign=True)
    if ties:
        model.language_model.tie_weights()
    return model.eval(), form


def assemble_vision_tower(
    card: VisionTowerCard, checkpoint: Checkpoint
) -> tuple[VisionTower, Form]:
    """Return the tower of `card` holding the checkpoint's, in the form that it has.

    With the CLIP head where the checkpoint has it, and the preprocessing that the checkpoint's
    tower was trained with. Raises ValueError when keys or shapes do not fit.
    """
    state = import_tower_state(checkpoint)
    with torch.device("meta"):
        skeleton = build_vision_tower(card, with_head=_HEAD in state)
    tower, form = fit(skeleton, state, f"'{checkpoint.source}'", card.name)
    tower.load_state_dict(state, strict=True, assign=True)
    tower.preprocessing = _tower_preprocessing(card, checkpoint)
    return tower.eval(), form


def export_state(model: VisionLanguageModel, naming: Naming) -> StateDict:
    """Return the model's weights in `naming`, without an output embedding that is tied.

    Raises ValueError for a model that the naming cannot hold.
    """
    state = without_ties(model.state_dict())
    if naming == "zoo":
        return state
    if model.card.multi_scale is not None:
        raise ValueError(
            f"This {model.card.name} has multi_scale, but {naming}'s FastVLM reads features of the "
            "last stage alone; write it in zoo's naming."
        )
    return table_of(naming).export_state(state, model.card.name, naming)


def _skeleton(
    card: VisionLanguageCard, checkpoint: Checkpoint, settings: Settings, state: StateDict
) -> VisionLanguageModel:
    """The train-time model without values, but with views and tokenizer."""
    language_model, language = build_language_model_for(settings.language, _part(state, _LANGUAGE))
    card = replace(card, language=language, multi_scale=settings.multi_scale)
    tokenizer = checkpoint.folder and read_tokenizer(checkpoint.folder, language_model)
    if tokenizer is None:
        tokenizer = own_tokenizer(card)
    with torch.device("meta"):
        model = build_around(card, language_model, settings.views, tokenizer)
    model.set_views(settings.views)
    return model


def _part(state: StateDict, prefix: str) -> StateDict:
    return {
        key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)
    }


def _tied_head(model: VisionLanguageModel, state: Mapping[str, torch.Tensor]) -> StateDict:
    """Return the entry of an output embedding that is the input embedding, if it is."""
    embedding, head = (_LANGUAGE + name for name in embedding_names(model.language_model))
    is_tied = model.get_parameter(embedding) is model.get_parameter(head)
    return {head: state[embedding]} if is_tied and embedding in state else {}


def _tower_preprocessing(card: VisionTowerCard, checkpoint: Checkpoint) -> Preprocessing:
    """MobileCLIP-S3 and MobileCLIP2-S3 normalise as OpenAI's CLIP does, FastVLM not at all."""
    if checkpoint.preprocessing is not None:
        return checkpoint.preprocessing
    if any(key.startswith(_CLIP_TEXT) for key in checkpoint.state):
        return get_card(_CLIP_WITH_THIS_TOWER).preprocessing
    config = read_config(checkpoint) or {}
    return apple_views(config, card.preprocessing).preprocessing
