"""What may change between the run that wrote a checkpoint and the one that continues it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from zoo.training.recipes.recipe import Recipe

EXACT_FIELDS = (
    "output",
    "cache_folder",
    "workers",
    "checkpoint_every",
    "log_every",
    "wandb_project",
)
"""The losses stay bit for bit those of an undisturbed run."""
CONTINUING_FIELDS = (
    "parallel",
    "precision",
    "accumulation",
    "activation_checkpointing",
    "compile",
    "channels_last",
    "synchronize_batch_norm",
    "deterministic",
)
"""Like the number of processes: how a step is computed, not what is computed. No sample is lost or
repeated, but sums are rounded in another order, BatchNorm may see other parts of a batch and random
numbers may fall elsewhere, so that the losses are close to an undisturbed run's."""
FREE_FIELDS = (*EXACT_FIELDS, *CONTINUING_FIELDS)


def recipe_record(recipe: Recipe) -> dict[str, Any]:
    """Return the recipe as it looks after a round trip through JSON."""
    return json.loads(json.dumps(asdict(recipe), default=str))


def check_same_recipe(recipe: Recipe, written: Mapping[str, Any], folder: Path) -> None:
    """Raise ValueError when the recipe of the checkpoint in `folder` leads elsewhere."""
    current = recipe_record(recipe)
    for field in sorted(current.keys() - set(FREE_FIELDS)):
        if current[field] != written.get(field):
            raise ValueError(
                f"'{folder}' was written with {field}={written.get(field)}, this run has "
                f"{field}={current[field]}; resume with the same value or choose another output."
            )
