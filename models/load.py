"""`load_model`: a name in, a model that is ready to use out."""

from __future__ import annotations

import os
from typing import Any

import torch

from zoo.models.card import ImageTextCard, SamClipCard, Stage, VisionLanguageCard, VisionTowerCard
from zoo.models.fastvlm.load import load_vision_language_model, load_vision_tower
from zoo.models.hub import PUBLISHED
from zoo.models.image_text_model import ImageTextModel
from zoo.models.mobileclip.load import load_mobileclip
from zoo.models.registry import get_card, get_card_of
from zoo.models.sam_clip.load import load_sam_clip


def load_model(
    name: str,
    *,
    weights: str | os.PathLike[str] | None = PUBLISHED,
    reparameterize: bool = True,
    device: str | torch.device | None = None,
    dtype: torch.dtype | None = None,
    image_size: int | None = None,
    stage: Stage | None = None,
) -> Any:
    """Return the model `name` in eval mode, with its preprocessing and tokenizer.

    An `ImageTextModel` for MobileCLIP, a `VisionLanguageModel` for FastVLM, a `VisionTower` for
    FastViTHD, a `SamClipModel`, which is an `ImageTextModel` too, for SAM-CLIP.

    Args:
        name: a name of `list_models()`, in any common spelling.
        weights: "published" for the authors' weights from the Hugging Face hub (cached), None
            for random ones (seed torch for the same ones again), or the path of a checkpoint or
            of a folder with one: Apple's, open_clip's, transformers' or zoo's naming, train-time
            or reparameterized, recognised from its keys. FastVLM's folders also hold its tokenizer
            and say which language model it has. Of SAM-CLIP none are published; a SAM's file, in
            its original naming or transformers', gives a model for masks alone.
        reparameterize: fold train-time branches for inference. False keeps them, for training;
            FastVLM's tower then has the form that the file gives it, which is merged in the
            published ones.
        device: where the model goes, "auto" for the fastest there is; the CPU by default.
        dtype: of the parameters; float32 by default, and for FastVLM what the device computes
            fastest (float32 takes 31 GB for fastvlm-7b, torch.bfloat16 half). torch.int8 quantizes
            the linear layers of FastVLM's language model, on the CPU. Folding happens before the
            cast.
        image_size: side of the input in pixels, if another than the weights were trained with.
        stage: which of FastVLM's published weights: 3 (the default, from the hub) or 2 (an archive
            of Apple's, kept in `HF_HOME`).

    Raises:
        ValueError: unknown name, an argument that the model does not have, or a checkpoint that is
            damaged, holds code or does not fit.
        FileNotFoundError: no file there, or the hub cannot be reached.
    """
    card = get_card(name)
    if isinstance(card, VisionLanguageCard):
        return load_vision_language_model(
            name,
            weights=weights,
            reparameterize=reparameterize,
            device=device,
            dtype=dtype,
            image_size=image_size,
            stage=stage,
        )
    if stage is not None:
        raise ValueError(f"stage={stage} is FastVLM's; {card.name} has no stages: leave it out.")
    load = load_vision_tower if isinstance(card, VisionTowerCard) else load_image_text_model
    return load(
        name,
        weights=weights,
        reparameterize=reparameterize,
        device=device,
        dtype=dtype,
        image_size=image_size,
    )


def load_image_text_model(
    name: str,
    *,
    weights: str | os.PathLike[str] | None = PUBLISHED,
    reparameterize: bool = True,
    device: str | torch.device | None = None,
    dtype: torch.dtype | None = None,
    image_size: int | None = None,
) -> ImageTextModel:
    """Return a model of two towers that meet in one embedding space, of whichever family.

    Arguments and errors are those of `load_model`; ValueError is raised for a model of another
    kind, too.
    """
    card = get_card_of(ImageTextCard, name)
    load = load_sam_clip if isinstance(card, SamClipCard) else load_mobileclip
    return load(
        name,
        weights=weights,
        reparameterize=reparameterize,
        device=device,
        dtype=dtype,
        image_size=image_size,
    )
