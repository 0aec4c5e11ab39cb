"""The model that a harness asks, from what can be written on its command line."""

from __future__ import annotations

from typing import Any

import torch

from zoo.models.card import Stage
from zoo.models.fastvlm.load import load_vision_language_model
from zoo.models.fastvlm.vision_language_model import VisionLanguageModel
from zoo.models.hub import PUBLISHED


def harness_model(
    model: str,
    *,
    weights: str = PUBLISHED,
    stage: Stage | None = None,
    device: str = "auto",
    dtype: str | None = None,
    image_size: int | None = None,
) -> VisionLanguageModel:
    """Return a vision-language model of zoo.

    `weights` is "published", "none" (random) or a path; `dtype` a name of torch's, such as
    "bfloat16", by default what the device computes fastest. Raises ValueError for a dtype that is
    none, and what `load_model` raises.
    """
    chosen: Any = None if dtype is None else getattr(torch, dtype, None)
    if dtype is not None and not isinstance(chosen, torch.dtype):
        raise ValueError(f"dtype={dtype} is no number format; give float32, bfloat16 or float16.")
    return load_vision_language_model(
        model,
        weights=None if weights == "none" else weights,
        stage=stage,
        device=device,
        dtype=chosen,
        image_size=image_size,
    )
