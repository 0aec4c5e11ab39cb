"""The vision-language model that a command asks."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import torch

from zoo.commands.console import weights_argument
from zoo.models.card import Stage
from zoo.models.fastvlm.load import load_vision_language_model
from zoo.models.fastvlm.vision_language_model import VisionLanguageModel
from zoo.models.preprocess import Aspect

DTypeName = Literal["float32", "bfloat16", "float16", "int8"]
Tiles = tuple[tuple[int, int], ...]
"""Columns and rows."""


def loaded_model(
    name: str,
    *,
    weights: str,
    stage: Stage | None,
    device: str,
    dtype: DTypeName | None,
    image_size: int | None,
    aspect: Aspect | None = None,
    tiles: Tiles,
) -> VisionLanguageModel:
    """Return a model as the flags say; what they leave open is as the weights were trained."""
    model = load_vision_language_model(
        name,
        weights=weights_argument(weights),
        stage=stage,
        device=device,
        dtype=None if dtype is None else getattr(torch, dtype),
        image_size=image_size,
    )
    preprocessing = replace(model.preprocessing, aspect=aspect or model.preprocessing.aspect)
    model.set_views(
        replace(model.views, preprocessing=preprocessing, grids=tiles or model.views.grids)
    )
    return model
