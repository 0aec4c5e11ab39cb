"""A small SAM of transformers' with the sizes of sam-clip-tiny, saved as its folder.

Used by .venv/bin/pytest tests/models/sam_clip
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from transformers_sam import randomize_all

from zoo import load_model
from zoo.models.sam_clip.convert import transformers_config

NAME = "sam-clip-tiny"


@cache
def transformers_sam() -> Any:
    """Return a `SamModel` whose every parameter is random."""
    from transformers import SamConfig, SamModel

    config = transformers_config(load_model(NAME, weights=None))
    model = SamModel(SamConfig(**config)).eval()
    randomize_all(model, seed=0)
    return model


def write_transformers_sam(folder: Path) -> Path:
    """Save it as transformers does and return the folder."""
    transformers_sam().save_pretrained(folder)
    return folder
