"""`load_model`: a name in, a model that is ready to use out."""

from __future__ import annotations

import os
from dataclasses import replace

import torch

from zoo.models.assemble import assemble, require_train_time
from zoo.models.card import ModelCard
from zoo.models.checkpoint import Checkpoint, read_checkpoint
from zoo.models.hub import published_weights
from zoo.models.image_text_model import ImageTextModel
from zoo.models.mobileclip.build import build_model
from zoo.models.mobileclip.image_encoder import resize_image_encoder
from zoo.models.registry import get_card

PUBLISHED = "published"


def load_model(
    name: str,
    *,
    weights: str | os.PathLike[str] | None = PUBLISHED,
    reparameterize: bool = True,
    device: str | torch.device | None = None,
    dtype: torch.dtype | None = None,
    image_size: int | None = None,
) -> ImageTextModel:
    """Return the model `name` in eval mode, with its preprocessing and tokenizer.

    Args:
        name: a name of `list_models()`, in any common spelling.
        weights: "published" for the authors' weights from the Hugging Face hub (cached), None
            for random ones (seed torch for the same ones again), or the path of a checkpoint or
            of a folder with one: Apple's, open_clip's or zoo's naming, train-time or
            reparameterized, recognised from its keys.
        reparameterize: fold train-time branches for inference. False keeps them, for training.
        device: where the model goes; the CPU by default.
        dtype: of the parameters; float32 by default. Folding happens before the cast.
        image_size: side of the input in pixels, if another than the weights were trained with.

    Raises:
        ValueError: unknown name, or a checkpoint that is damaged, holds code or does not fit.
        FileNotFoundError: no file there, or the hub cannot be reached.
    """
    card = get_card(name)
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


def _resize(model: ImageTextModel, card: ModelCard, image_size: int) -> None:
    multiple = 14 if "patch14" in card.image.timm_name else 16
    if image_size < multiple or (card.image.timm_name.startswith("vit_") and image_size % multiple):
        raise ValueError(
            f"image_size={image_size} does not fit {card.name}; give a positive multiple of "
            f"{multiple} pixels."
        )
    resize_image_encoder(model.image_encoder, image_size)
    model.set_preprocessing(replace(model.preprocessing, image_size=image_size))
