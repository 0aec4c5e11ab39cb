"""FastVLM and FastViTHD by name."""

from __future__ import annotations

import os
from dataclasses import replace

import torch
from torch import nn

from zoo.models.card import Stage, VisionLanguageCard, VisionTowerCard
from zoo.models.checkpoint import read_checkpoint
from zoo.models.devices import chosen_device, fastest_dtype
from zoo.models.fastvlm.assemble import assemble_vision_language_model, assemble_vision_tower
from zoo.models.fastvlm.build import build_vision_language_model, build_vision_tower
from zoo.models.fastvlm.int8 import quantize_linears
from zoo.models.fastvlm.prepare import prepare_for_inference
from zoo.models.fastvlm.published import published_fastvlm
from zoo.models.fastvlm.vision_language_model import VisionLanguageModel
from zoo.models.fastvlm.vision_tower import VisionTower
from zoo.models.hub import PUBLISHED, published_weights
from zoo.models.registry import get_card_of
from zoo.models.reparameterize import fold_entirely

LAST_STAGE: Stage = 3

Weights = str | os.PathLike[str] | None


def load_vision_language_model(
    name: str,
    *,
    weights: Weights = PUBLISHED,
    reparameterize: bool = True,
    device: str | torch.device | None = None,
    dtype: torch.dtype | None = None,
    image_size: int | None = None,
    stage: Stage | None = None,
) -> VisionLanguageModel:
    """Return the vision-language model `name` in eval mode, with preprocessing and tokenizer.

    Arguments and errors are those of `zoo.models.load.load_model`; ValueError is raised for a model
    of another kind, too. With reparameterize=False the tower stays in the form that the file has:
    the published ones are merged already, and are trained so; random weights have the train-time
    branches.
    """
    card = get_card_of(VisionLanguageCard, name)
    device = chosen_device(device)
    vision_dtype, language_dtype = _dtypes(device, dtype)
    if stage is not None and weights != PUBLISHED:
        raise ValueError(f"stage={stage} is one of the published weights; leave it or weights out.")
    if weights is None:
        model = _random_model(card, device, language_dtype)
    else:
        model = _read_model(card, weights, stage or LAST_STAGE)
    if image_size is not None:
        preprocessing = replace(model.preprocessing, image_size=image_size)
        model.set_views(replace(model.views, preprocessing=preprocessing))
    if reparameterize:
        _fold(model.image_encoder)
    _place(model, device, vision_dtype, language_dtype)
    if dtype == torch.int8:
        quantize_linears(model.language_model)
    if reparameterize:
        prepare_for_inference(model)
    return model


def load_vision_tower(
    name: str,
    *,
    weights: Weights = PUBLISHED,
    reparameterize: bool = True,
    device: str | torch.device | None = None,
    dtype: torch.dtype | None = None,
    image_size: int | None = None,
) -> VisionTower:
    """Return the image tower `name` in eval mode, with its preprocessing.

    `weights` may be any file that holds the tower: FastVLM's in every naming, MobileCLIP-S3's and
    MobileCLIP2-S3's, or the tower alone. The preprocessing is that of the file: MobileCLIP's towers
    were trained at 256 pixels, cropped and normalised as OpenAI's CLIP does; FastVLM's are padded
    and not normalised. With reparameterize=False the tower stays in the form that the file has.

    Arguments and errors are those of `zoo.models.load.load_model`; ValueError is raised for a model
    of another kind, too.
    """
    card = get_card_of(VisionTowerCard, name)
    device = chosen_device(device)
    if weights is None:
        with device:
            tower = build_vision_tower(card).eval()
    else:
        path = published_weights(card) if weights == PUBLISHED else weights
        tower, _ = assemble_vision_tower(card, read_checkpoint(path))
    if image_size is not None:
        tower.preprocessing = replace(tower.preprocessing, image_size=image_size)
    if reparameterize:
        _fold(tower)
        prepare_for_inference(tower)
    return tower.to(device=device, dtype=dtype or torch.float32)


def _random_model(
    card: VisionLanguageCard, device: torch.device, language_dtype: torch.dtype
) -> VisionLanguageModel:
    # A large language model is not built larger than it will be.
    with device:
        return build_vision_language_model(card, language_dtype).eval()


def _read_model(
    card: VisionLanguageCard, weights: str | os.PathLike[str], stage: Stage
) -> VisionLanguageModel:
    path = published_fastvlm(card, stage) if weights == PUBLISHED else weights
    model, _ = assemble_vision_language_model(card, read_checkpoint(path))
    return model


@torch.no_grad()
def _fold(module: nn.Module) -> None:
    """Fold a tower in place, in float32: weights stored in half precision are rounded once."""
    module.float()
    fold_entirely(module)


def _dtypes(device: torch.device, dtype: torch.dtype | None) -> tuple[torch.dtype, torch.dtype]:
    """Return those of tower and projector, and of the language model."""
    fastest = fastest_dtype(device)
    if dtype == torch.int8:
        return fastest, torch.float32  # which is rounded to eight bits
    return dtype or fastest, dtype or fastest


def _place(
    model: VisionLanguageModel,
    device: torch.device,
    vision_dtype: torch.dtype,
    language_dtype: torch.dtype,
) -> None:
    """Move and cast in place. Buffers that no file holds keep their precision: a rotary embedding's
    frequencies in bfloat16 would misplace tokens."""
    stored = model.state_dict().keys()
    computed = {name: buffer for name, buffer in model.named_buffers() if name not in stored}
    model.language_model.to(device=device, dtype=language_dtype)
    for part in model.children():
        if part is not model.language_model:
            part.to(device=device, dtype=vision_dtype)
    for name, buffer in computed.items():
        owner, _, leaf = name.rpartition(".")
        model.get_submodule(owner).register_buffer(leaf, buffer.to(device), persistent=False)
