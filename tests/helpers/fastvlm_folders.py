"""fastvlm-tiny on disk, as the authors and others publish theirs."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import torch
from realistic import make_realistic
from torch import Tensor

from zoo import load_model
from zoo.models.checkpoint import save_weights
from zoo.models.convert import convert_weights
from zoo.models.fastvlm.prompt import IMAGE_TOKEN_INDEX
from zoo.models.fastvlm.vision_language_model import VisionLanguageModel
from zoo.models.reparameterize import merge_branches

NAME = "fastvlm-tiny"


@cache
def merged_model() -> VisionLanguageModel:
    """A model with weights that look trained, its tower merged; not to be changed."""
    torch.manual_seed(0)
    model: VisionLanguageModel = load_model(NAME, weights=None, reparameterize=False)
    make_realistic(model)
    merge_branches(model.image_encoder)
    return model


def write_folders(folder: Path) -> None:
    """Write the merged model in zoo's naming to `own`, in the others' to `apple` and
    `transformers`."""
    save_weights(merged_model(), folder / "own" / "weights.safetensors")
    for naming in ("apple", "transformers"):
        convert_weights(folder / "own", folder / naming, model=NAME, naming=naming)


def example() -> tuple[Tensor, Tensor]:
    """Token ids (1, T) with the places of one view, and the view (1, 3, 192, 192)."""
    generator = torch.Generator().manual_seed(0)
    words = torch.randint(0, 512, (2, 1, 6), generator=generator)
    places = torch.full((1, merged_model().tokens_per_view), IMAGE_TOKEN_INDEX)
    return torch.cat([words[0], places, words[1]], 1), torch.rand(1, 3, 192, 192)


def logits(model: Any, of: tuple[Tensor, Tensor]) -> Tensor:
    """The model's logits of the tiny tokenizer's 512 entries; they must not be all alike."""
    with torch.no_grad():
        found = model(*of)[..., :512]
    assert found.std() > 0.01
    return found


def change_json(path: Path, **values: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))
