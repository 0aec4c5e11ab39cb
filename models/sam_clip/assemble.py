"""From a checkpoint to a SAM-CLIP: recognise naming and parts, load strictly."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import NoReturn

import torch
from torch import Tensor, nn

from zoo.models.card import SamClipCard
from zoo.models.checkpoint import Checkpoint, StateDict, check_written_for
from zoo.models.fit import fit
from zoo.models.sam_clip.build import build_sam_clip
from zoo.models.sam_clip.keys import CLIP_HEAD, TEXT, import_state
from zoo.models.sam_clip.sam_clip_model import SamClipModel
from zoo.models.sam_clip.text_tower import text_from_json

SAM_PARTS = ("image_encoder", "prompt_encoder", "mask_decoder")
_SIZES = ("embed_dim", "mask_image_size", "segmentation_image_size")


class Absent(nn.Module):
    """In the place of a part that the weights do not hold: using it raises ValueError."""

    def __init__(self, reason: str) -> None:
        super().__init__()
        self.reason = reason

    def forward(self, *_: Tensor) -> NoReturn:
        raise ValueError(self.reason)

    patches = forward


class NoTextTower(Absent):
    """In the place of the text tower."""


class NoClipHead(Absent):
    """In the place of the CLIP head."""


def assemble(card: SamClipCard, checkpoint: Checkpoint) -> SamClipModel:
    """Return the model of `card` holding the checkpoint's weights, in eval mode.

    A file of ours says which text tower it has; the returned model's card does too. A SAM in its
    original naming or transformers' gives a model whose masks work, without a CLIP head and a text
    tower: whoever uses these gets a ValueError. The weights keep their dtype.

    Raises ValueError when keys or shapes do not fit, and for a tower alone.
    """
    check_written_for(checkpoint, card)
    state = import_state(card, checkpoint)
    _check_decoder(checkpoint, state)
    card = _card_of_file(card, checkpoint)
    with torch.device("meta"):
        model = build_sam_clip(card)
    _leave_out_words(model, checkpoint.source, state)
    # A SAM's file has no scale of logits; nothing uses it without a text tower.
    state.setdefault("logit_scale", torch.tensor(math.log(1 / 0.07)))
    model, _ = fit(model, state, f"'{checkpoint.source}'", card.name)
    model.load_state_dict(state, strict=True, assign=True)
    model.set_preprocessing(checkpoint.preprocessing or card.preprocessing)
    return model.eval()


def read_sam_parts(card: SamClipCard, checkpoint: Checkpoint) -> dict[str, StateDict]:
    """Return the states of tower, prompt encoder and mask decoder, by name, of a file that may hold
    more, or a tower alone.

    Raises ValueError for a file that is neither a SAM's nor a SAM-CLIP's.
    """
    check_written_for(checkpoint, card)
    state = import_state(card, checkpoint)
    parts = {
        part: {
            key.removeprefix(f"{part}."): value
            for key, value in state.items()
            if key.startswith(f"{part}.")
        }
        for part in SAM_PARTS
    }
    return {part: values for part, values in parts.items() if values}


def _card_of_file(card: SamClipCard, checkpoint: Checkpoint) -> SamClipCard:
    """What the header of a file of ours says of its text tower and sizes; see `file_metadata`."""
    if "sizes" not in checkpoint.metadata:
        return card
    sizes = json.loads(checkpoint.metadata["sizes"])
    text = text_from_json(checkpoint.metadata["text"])
    return replace(card, text=text, **{name: sizes[name] for name in _SIZES})


def _leave_out_words(model: SamClipModel, source: str, state: StateDict) -> None:
    """Put what raises in the place of the head and the text tower that a file does not hold."""
    name = model.card.name
    if not any(key.startswith(CLIP_HEAD) for key in state):
        reason = (
            f"'{source}' holds SAM's parts alone, so that {name} finds masks with it but has no "
            "CLIP head and no text tower; train them from this file (zoo train sam-clip-stage1)."
        )
        model.set_submodule("clip_head", NoClipHead(reason))
        model.text_encoder = NoTextTower(reason)
    elif not any(key.startswith(TEXT) for key in state):
        reason = f"'{source}' holds a {name} without a text tower; {GIVE_TEXT}."
        model.text_encoder = NoTextTower(reason)


GIVE_TEXT = (
    "begin its training with that of its CLIP teacher (text='open_clip:MODEL@TAG' or "
    "'zoo:MODEL@WEIGHTS')"
)
"""What to do about a missing text tower."""


def _check_decoder(checkpoint: Checkpoint, state: StateDict) -> None:
    if not any(key.startswith("mask_decoder.") for key in state):
        raise ValueError(
            f"'{checkpoint.source}' holds SAM's image tower alone, without prompt encoder and mask "
            "decoder; begin a training with it, or give a whole SAM."
        )
