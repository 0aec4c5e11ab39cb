"""recipe.json: what a run is, for a stranger who finds its folder."""

from __future__ import annotations

import json
import os
import platform
import shlex
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from zoo.reinforced_data.sidecars.tensor_file import write_whole
from zoo.training.checkpoints.same_recipe import recipe_record
from zoo.training.parallel.world import World
from zoo.training.recipes.recipe import Recipe

DESCRIPTION_NAME = "recipe.json"
_PACKAGES = ("zoo", "torch", "timm", "open_clip_torch", "numpy", "pillow")


def describe_run(recipe: Recipe, world: World, step: int) -> None:
    """Write recipe.json: `recipe`, and in `sessions` who began or resumed the run, where and how.

    A session has the time (UTC), the first step that it made, the command, the machine, the
    versions of the packages, and the recipe's fields that it changed when it resumed.
    """
    path = recipe.output / DESCRIPTION_NAME
    record = recipe_record(recipe)
    earlier = _read(path) if path.exists() else {"recipe": record, "sessions": []}
    session = {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "first_step": step + 1,
        "command": shlex.join([os.path.basename(sys.argv[0]), *sys.argv[1:]]),
        "machine": _machine(world),
        "versions": {"python": platform.python_version()} | {p: version(p) for p in _PACKAGES},
        "changed": {k: v for k, v in record.items() if earlier["recipe"].get(k) != v},
    }
    description = {"recipe": record, "sessions": [*earlier["sessions"], session]}
    write_whole(path, [json.dumps(description, indent=2).encode() + b"\n"])


def _read(path: Path) -> dict[str, Any]:
    try:
        description = json.loads(path.read_text())
        return {"recipe": dict(description["recipe"]), "sessions": list(description["sessions"])}
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(
            f"'{path}' does not describe a run; delete it to have it written again."
        ) from error


def _machine(world: World) -> dict[str, Any]:
    on_cuda = world.device.type == "cuda"
    return {
        "system": platform.platform(),
        "cores": os.cpu_count(),
        "torch_threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name(world.device) if on_cuda else world.device.type,
        "processes": world.size,
    }
