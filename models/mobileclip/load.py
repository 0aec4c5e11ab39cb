"""MobileCLIP by name."""

from __future__ import annotations

import os
from dataclasses import replace

import torch

from zoo.models.assemble import assemble, require_train_time
from zoo.models.card import ImageTextCard
from zoo.models.checkpoint import Checkpoint, read_checkpoint
from zoo.models.devices import chosen_device
from zoo.models.hub import PUBLISHED, published_weights
from zoo.models.image_encoder import resize_image_encoder
from zoo.models.image_text_model import ImageTextModel
from zoo.models.mobileclip.build import build_model
from zoo.models.registry import get_card_of


def load_mobileclip(
    name: str,
    *,
    weights: str | os.PathLike[str] | None = PUBLISHED,
    reparameterize: bool = True,
    device: str | torch.device | None = None,
    dtype: torch.dtype | None = None,
    image_size: int | None = None,
) -> ImageTextModel:
    """Return the MobileCLIP model `name` in eval mode, with its preprocessing and tokenizer.

    Arguments and errors are those of `zoo.models.load.load_model`; ValueError is raised for a model
    of another kind, too.
    """
    card = get_card_of(ImageTextCard, name)
    device = chosen_device(device)
    if weights is None:
        model = build_model(card).eval()
    else:
        path = published_weights(card) if weights == PUBLISHED else weights
        model, form = assemble(card, _as_float(read_checkpoint(path), dtype))
        if not reparameterize:
            require_train_time(form, path)
    if image_size is not None:
        _resize(model, card, image_size)
    if reparameterize:
        model = model.reparameterize()
    return model.to(device=device, dtype=dtype)


def _as_float(checkpoint: Checkpoint, dtype: torch.dtype | None) -> Checkpoint:
    """Weights stored in half precision are computed with in float32, unless asked otherwise."""
    working = torch.float64 if dtype == torch.float64 else torch.float32
    state = {
        key: value.to(working) if value.is_floating_point() else value
        for key, value in checkpoint.state.items()
    }
    return replace(checkpoint, state=state)


def _resize(model: ImageTextModel, card: ImageTextCard, image_size: int) -> None:
    multiple = 14 if "patch14" in card.image.timm_name else 16
    if image_size < multiple or (card.image.timm_name.startswith("vit_") and image_size % multiple):
        raise ValueError(
            f"image_size={image_size} does not fit {card.name}; give a positive multiple of "
            f"{multiple} pixels."
        )
    resize_image_encoder(model.image_encoder, image_size)
    model.set_preprocessing(replace(model.preprocessing, image_size=image_size))
