"""SAM-CLIP by name."""

from __future__ import annotations

import os
from dataclasses import replace

import torch

from zoo.models.card import SamClipCard
from zoo.models.checkpoint import check_written_for, read_checkpoint
from zoo.models.devices import chosen_device
from zoo.models.fit import fit
from zoo.models.hub import PUBLISHED, published_weights
from zoo.models.registry import get_card_of
from zoo.models.sam_clip.build import build_sam_clip
from zoo.models.sam_clip.sam_clip_model import SamClipModel


def load_sam_clip(
    name: str,
    *,
    weights: str | os.PathLike[str] | None = PUBLISHED,
    reparameterize: bool = True,
    device: str | torch.device | None = None,
    dtype: torch.dtype | None = None,
    image_size: int | None = None,
) -> SamClipModel:
    """Return the SAM-CLIP model `name` in eval mode, with its preprocessing and tokenizer.

    Arguments and errors are those of `zoo.models.load.load_model`; ValueError is raised for a model
    of another kind, too.
    """
    card = get_card_of(SamClipCard, name)
    device = chosen_device(device)
    if weights is None:
        model = build_sam_clip(card).eval()
    else:
        path = published_weights(card) if weights == PUBLISHED else weights
        model = _read(card, path)
    if image_size is not None:
        model.set_preprocessing(replace(model.preprocessing, image_size=image_size))
    if reparameterize:
        model = model.reparameterize()
    return model.to(device=device, dtype=dtype)


def _read(card: SamClipCard, path: str | os.PathLike[str]) -> SamClipModel:
    checkpoint = read_checkpoint(path)
    check_written_for(checkpoint, card)
    with torch.device("meta"):
        model = build_sam_clip(card).eval()
    model, _ = fit(model, checkpoint.state, f"'{checkpoint.source}'", card.name)
    model.load_state_dict(checkpoint.state, strict=True, assign=True)
    model.set_preprocessing(checkpoint.preprocessing or card.preprocessing)
    return model
