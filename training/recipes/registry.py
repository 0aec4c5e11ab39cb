"""Recipes by name."""

from __future__ import annotations

import difflib
from collections.abc import Callable

from zoo.training.recipes.continual import tiny_continual
from zoo.training.recipes.fastvlm import (
    fastvlm_lora,
    fastvlm_stage1,
    fastvlm_stage1_5,
    fastvlm_stage2,
    fastvlm_stage3,
)
from zoo.training.recipes.fastvlm_tiny import (
    fastvlm_tiny_stage1,
    fastvlm_tiny_stage1_5,
    fastvlm_tiny_stage2,
    fastvlm_tiny_stage3,
)
from zoo.training.recipes.fine_tune import fine_tune, fine_tune_last, fine_tune_lora
from zoo.training.recipes.objectives import alip, captioner, prefix, siglip
from zoo.training.recipes.published import datacompdr_1b, datacompdr_12m, dfndr_2b
from zoo.training.recipes.recipe import Recipe
from zoo.training.recipes.sam_clip import sam_clip_stage1, sam_clip_stage2, sam_clip_stage3
from zoo.training.recipes.sam_clip_tiny import (
    sam_clip_tiny_sam,
    sam_clip_tiny_stage1,
    sam_clip_tiny_stage2,
    sam_clip_tiny_stage3,
)
from zoo.training.recipes.small import (
    cifar10,
    cifar10_plain,
    cifar10_reinforced,
    flickr1k,
    tiny_plain,
    tiny_reinforced,
    tiny_teacher,
)
from zoo.training.transfer.recipes import (
    classification_head,
    feature_distillation,
    task_distillation,
)

RECIPES: dict[str, Callable[[], Recipe]] = {
    "tiny-teacher": tiny_teacher,
    "tiny-plain": tiny_plain,
    "tiny-reinforced": tiny_reinforced,
    "flickr1k": flickr1k,
    "cifar10": cifar10,
    "cifar10-plain": cifar10_plain,
    "cifar10-reinforced": cifar10_reinforced,
    "siglip": siglip,
    "alip": alip,
    "prefix": prefix,
    "captioner": captioner,
    "datacompdr-12m": datacompdr_12m,
    "datacompdr-1b": datacompdr_1b,
    "dfndr-2b": dfndr_2b,
    "task-distillation": task_distillation,
    "feature-distillation": feature_distillation,
    "classification-head": classification_head,
    "tiny-continual": tiny_continual,
    "fine-tune": fine_tune,
    "fine-tune-last": fine_tune_last,
    "fine-tune-lora": fine_tune_lora,
    "fastvlm-stage1": fastvlm_stage1,
    "fastvlm-stage1.5": fastvlm_stage1_5,
    "fastvlm-stage2": fastvlm_stage2,
    "fastvlm-stage3": fastvlm_stage3,
    "fastvlm-lora": fastvlm_lora,
    "fastvlm-tiny-stage1": fastvlm_tiny_stage1,
    "fastvlm-tiny-stage1.5": fastvlm_tiny_stage1_5,
    "fastvlm-tiny-stage2": fastvlm_tiny_stage2,
    "fastvlm-tiny-stage3": fastvlm_tiny_stage3,
    "sam-clip-stage1": sam_clip_stage1,
    "sam-clip-stage2": sam_clip_stage2,
    "sam-clip-stage3": sam_clip_stage3,
    "sam-clip-tiny-sam": sam_clip_tiny_sam,
    "sam-clip-tiny-stage1": sam_clip_tiny_stage1,
    "sam-clip-tiny-stage2": sam_clip_tiny_stage2,
    "sam-clip-tiny-stage3": sam_clip_tiny_stage3,
}


def get_recipe(name: str) -> Recipe:
    """Return the recipe called `name`. Raises ValueError with the closest names otherwise."""
    if name in RECIPES:
        return RECIPES[name]()
    close = difflib.get_close_matches(name.lower().replace("_", "-"), RECIPES, n=2, cutoff=0.5)
    hint = f"did you mean {' or '.join(close)}?" if close else f"there are {', '.join(RECIPES)}."
    raise ValueError(f"Unknown recipe '{name}'; {hint}")
