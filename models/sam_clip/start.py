"""The SAM-CLIP that a training begins with: a SAM's parts and a CLIP teacher's text tower."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from zoo.models.card import ImageTextCard, SamClipCard, TextTowerConfig
from zoo.models.checkpoint import read_checkpoint
from zoo.models.fit import fit
from zoo.models.hub import PUBLISHED
from zoo.models.image_text_model import ImageTextModel
from zoo.models.mobileclip.load import load_mobileclip
from zoo.models.open_clip_weights import create_open_clip, needs_quick_gelu
from zoo.models.registry import get_card_of
from zoo.models.sam_clip.assemble import GIVE_TEXT, Absent, NoTextTower, read_sam_parts
from zoo.models.sam_clip.build import build_sam_clip
from zoo.models.sam_clip.load import load_sam_clip
from zoo.models.sam_clip.sam_clip_model import SamClipModel
from zoo.models.sam_clip.text_tower import build_text_tower, open_clip_text_config

_SPEC = re.compile(r"(?P<source>zoo|open_clip):(?P<model>[^@]+)(?:@(?P<weights>.+))?")


def starting_model(
    name: str, *, sam: str | os.PathLike[str] | None, text: str | None
) -> SamClipModel:
    """Return the SAM-CLIP `name` before its first stage of training, in eval mode.

    Tower, prompt encoder and mask decoder are the SAM's; the blocks of the CLIP head are copies of
    the tower's last, its MLP is random (seed torch for the same one again). Text tower, tokenizer
    and scale of logits are those of the CLIP teacher, whose embedding may be wider or narrower than
    the card's: the head ends there, and the model's card says so. Folded in the form for inference,
    the text tower has no statistics that training could move. A SigLIP's bias of logits is left
    out: it moves all classes alike.

    Args:
        name: a SAM-CLIP of `list_models()`.
        sam: a SAM's file or folder in its original naming, transformers' or timm's (which is a
            tower alone: prompt encoder and mask decoder are random then), or weights of `name`
            that zoo wrote; None draws them at random.
        text: `zoo:MODEL[@WEIGHTS]`, any image-text model of ours, or `open_clip:MODEL@TAG_OR_FILE`,
            where MODEL is an architecture, or `hf-hub:REPO` or `local-dir:FOLDER`, which hold
            their own weights; None leaves the model without a text tower, which is enough to train
            a SAM or a CLIP head.

    Raises:
        ValueError: an unknown name, a `text` that is not understood, or weights that do not fit.
        FileNotFoundError: no file there, or the weights cannot be fetched.
    """
    card = get_card_of(SamClipCard, name)
    teacher = None if text is None else _read_text_tower(text)
    if teacher is not None:
        card = replace(card, text=teacher.config, embed_dim=teacher.embed_dim)
    model = build_sam_clip(card)
    _take_words(model, teacher)
    if sam is not None:
        _take_sam(model, sam)
    return model.eval()


class _TextTower(NamedTuple):
    """A CLIP teacher without its pictures."""

    config: TextTowerConfig
    embed_dim: int
    tower: nn.Module
    logit_scale: Tensor


def _read_text_tower(spec: str) -> _TextTower:
    match = _SPEC.fullmatch(spec)
    if match is None:
        raise ValueError(
            f"The text tower {spec!r} is not understood; write zoo:MODEL[@WEIGHTS] or "
            "open_clip:MODEL@TAG_OR_FILE, for example open_clip:ViT-L-14@datacomp_xl_s13b_b90k."
        )
    read = _from_zoo if match["source"] == "zoo" else _from_open_clip
    return read(match["model"], match["weights"])


def _from_zoo(name: str, weights: str | None) -> _TextTower:
    card = get_card_of(ImageTextCard, name)
    load: Any = load_sam_clip if isinstance(card, SamClipCard) else load_mobileclip
    teacher: ImageTextModel = load(name, weights=weights or PUBLISHED)
    if isinstance(teacher.text_encoder, Absent):
        raise ValueError(teacher.text_encoder.reason)
    return _TextTower(
        teacher.card.text, teacher.card.embed_dim, teacher.text_encoder, teacher.logit_scale
    )


def _from_open_clip(name: str, weights: str | None) -> _TextTower:
    from open_clip import get_model_config

    teacher = create_open_clip(name, weights, force_custom_text=True)
    model_config: Any = get_model_config(name)
    quick_gelu = needs_quick_gelu(name, weights)
    config = open_clip_text_config(name, model_config, quick_gelu=quick_gelu)
    embed_dim = model_config["embed_dim"]
    tower = build_text_tower(config, embed_dim)
    tower.load_state_dict(teacher.text.state_dict())
    return _TextTower(config, embed_dim, tower, teacher.logit_scale)


def _take_words(model: SamClipModel, teacher: _TextTower | None) -> None:
    if teacher is None:
        reason = f"This {model.card.name} has no text tower; {GIVE_TEXT}."
        model.text_encoder = NoTextTower(reason)
        return
    model.text_encoder = teacher.tower
    with torch.no_grad():
        model.logit_scale.copy_(teacher.logit_scale.reshape(()))


def _take_sam(model: SamClipModel, path: str | os.PathLike[str]) -> None:
    checkpoint = read_checkpoint(path)
    for name, state in read_sam_parts(model.card, checkpoint).items():
        part = model.get_submodule(name)
        fit(part, state, f"{name} of '{checkpoint.source}'", model.card.name)
        part.load_state_dict(state)
    tower: Any = model.image_encoder
    for block in model.clip_head.blocks:
        block.load_state_dict(tower.blocks[-1].state_dict())
