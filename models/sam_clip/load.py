"""SAM-CLIP by name."""

from __future__ import annotations

import os
from dataclasses import replace

import torch

from zoo.models.card import SamClipCard
from zoo.models.checkpoint import read_checkpoint
from zoo.models.devices import chosen_device
from zoo.models.hub import PUBLISHED
from zoo.models.registry import get_card_of
from zoo.models.sam_clip.assemble import assemble
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

    `weights` may be a SAM's, in its original naming or transformers': `predict_masks` works then,
    and what needs words raises ValueError. No SAM-CLIP was published. Only text towers with
    train-time branches are reparameterized. Weights stored in half precision are computed with in
    float32, unless asked otherwise.

    Arguments and errors are those of `zoo.models.load.load_model`; ValueError is raised for a model
    of another kind, too.
    """
    card = get_card_of(SamClipCard, name)
    device = chosen_device(device)
    if weights == PUBLISHED:
        raise ValueError(_never_published(card))
    if weights is None:
        model = build_sam_clip(card).eval()
    else:
        model = assemble(card, read_checkpoint(weights))
    if image_size is not None:
        _check_size(card, image_size)
        model.set_preprocessing(replace(model.preprocessing, image_size=image_size))
    model.to(dtype=torch.float64 if dtype == torch.float64 else torch.float32)
    if reparameterize:
        model = model.reparameterize()
    return model.to(device=device, dtype=dtype)


def _never_published(card: SamClipCard) -> str:
    is_small = card.name == "sam-clip-tiny"
    recipe = "sam-clip-tiny-stage1" if is_small else "sam-clip-stage1"
    sam = "a file of recipe sam-clip-tiny-sam" if is_small else "sam_vit_b_01ec64.pth"
    return (
        f"{card.name} has no published weights; train it (zoo train {recipe}) and give the path of "
        f"its file, give that of a SAM ({sam}) for masks alone, or None (on the command line: "
        "--weights none) for random ones."
    )


def _check_size(card: SamClipCard, image_size: int) -> None:
    if image_size < card.stride or image_size % card.stride:
        raise ValueError(
            f"image_size={image_size} does not fit {card.name}; give a positive multiple of "
            f"{card.stride} pixels."
        )
