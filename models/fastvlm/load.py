"""FastVLM and FastViTHD by name."""

from __future__ import annotations

import os
from dataclasses import replace

import torch

from zoo.models.card import Stage, VisionLanguageCard, VisionTowerCard
from zoo.models.devices import chosen_device, fastest_dtype
from zoo.models.fastvlm.build import build_vision_language_model, build_vision_tower
from zoo.models.fastvlm.vision_language_model import VisionLanguageModel
from zoo.models.fastvlm.vision_tower import VisionTower
from zoo.models.hub import PUBLISHED
from zoo.models.registry import get_card_of


def load_vision_language_model(
    name: str,
    *,
    weights: str | os.PathLike[str] | None = PUBLISHED,
    reparameterize: bool = True,
    device: str | torch.device | None = None,
    dtype: torch.dtype | None = None,
    image_size: int | None = None,
    stage: Stage | None = None,
) -> VisionLanguageModel:
    """Return the vision-language model `name` in eval mode, with preprocessing and tokenizer.

    Arguments and errors are those of `zoo.models.load.load_model`; ValueError is raised for a model
    of another kind, too.
    """
    card = get_card_of(VisionLanguageCard, name)
    device = chosen_device(device)
    model = build_vision_language_model(card).eval()
    if image_size is not None:
        preprocessing = replace(model.preprocessing, image_size=image_size)
        model.set_views(replace(model.views, preprocessing=preprocessing))
    if reparameterize:
        model = model.reparameterize()
    return model.to(device=device, dtype=dtype or fastest_dtype(device))


def load_vision_tower(
    name: str,
    *,
    weights: str | os.PathLike[str] | None = PUBLISHED,
    reparameterize: bool = True,
    device: str | torch.device | None = None,
    dtype: torch.dtype | None = None,
    image_size: int | None = None,
) -> VisionTower:
    """Return the image tower `name` in eval mode, with its preprocessing.

    Arguments and errors are those of `zoo.models.load.load_model`; ValueError is raised for a model
    of another kind, too.
    """
    card = get_card_of(VisionTowerCard, name)
    model = build_vision_tower(card).eval()
    if image_size is not None:
        model.preprocessing = replace(model.preprocessing, image_size=image_size)
    if reparameterize:
        model = model.reparameterize()
    return model.to(device=chosen_device(device), dtype=dtype)
