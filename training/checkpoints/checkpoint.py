"""Checkpoints written and read back."""

from __future__ import annotations

import json
import os
import re
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from zoo.models.image_text_model import ImageTextModel
from zoo.training.checkpoints.random_state import random_state, set_random_state
from zoo.training.checkpoints.train_state import TrainState
from zoo.training.recipes.recipe import Recipe

FORMAT = "zoo-training-state"
FORMAT_VERSION = 1
KEPT_CHECKPOINTS = 2
# What may differ between the run that wrote a checkpoint and the one that continues it.
FREE_FIELDS = ("output", "workers", "checkpoint_every", "log_every", "cache_folder")

_NAME = re.compile(r"step-(\d{8,})")
_UNFINISHED = ".unfinished-"


def save_checkpoint(state: TrainState) -> Path:
    """Write the state of a run beside its older checkpoints, drop the oldest, return the folder."""
    output = state.recipe.output
    final = output / f"step-{state.step:08d}"
    draft = output / f"{_UNFINISHED}{final.name}"
    draft.mkdir(parents=True)
    save_file(_contiguous(state.model.state_dict()), draft / "model.safetensors")
    save_file(_contiguous(_optimizer_tensors(state)), draft / "optimizer.safetensors")
    (draft / "state.json").write_text(json.dumps(_description(state)))
    for path in (*draft.iterdir(), draft):
        _flush_to_disk(path)
    draft.rename(final)
    _flush_to_disk(output)
    for old in checkpoints(output)[:-KEPT_CHECKPOINTS]:
        _remove(old)
    return final


def checkpoints(output: Path) -> list[Path]:
    """Return the checkpoint folders in a run folder, oldest first."""
    found = [path for path in output.glob("step-*") if _NAME.fullmatch(path.name)]
    return sorted(found, key=lambda path: int(path.name.removeprefix("step-")))


def remove_unfinished(output: Path) -> None:
    """Delete what a killed run left half written or half deleted."""
    for folder in output.glob(f"{_UNFINISHED}*"):
        shutil.rmtree(folder)


def restore_checkpoint(state: TrainState, folder: Path) -> None:
    """Put model, optimizer, loader, step and random states back to where `folder` was written.

    Raises ValueError when the folder is damaged, is not a checkpoint of ours, belongs to another
    model, or was written with a recipe that leads elsewhere.
    """
    description = _read_description(folder)
    _check_same_recipe(state.recipe, description["recipe"], folder)
    _restore_model(state.model, _read_tensors(folder / "model.safetensors"), folder)
    _restore_optimizer(state, _read_tensors(folder / "optimizer.safetensors"), folder)
    state.loader.load_state_dict(description["loader"])
    state.step = description["step"]
    set_random_state(description["random"])


def _description(state: TrainState) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "step": state.step,
        "samples_seen": state.samples_seen,
        "recipe": _recipe_record(state.recipe),
        "loader": state.loader.state_dict(),
        "random": random_state(),
    }


def _recipe_record(recipe: Recipe) -> dict[str, Any]:
    """Return the recipe as it looks after a round trip through JSON."""
    return json.loads(json.dumps(asdict(recipe), default=str))


def _optimizer_tensors(state: TrainState) -> dict[str, Tensor]:
    return {
        f"{name}.{key}": value
        for name, parameter in state.model.named_parameters()
        for key, value in state.optimizer.state.get(parameter, {}).items()
    }


def _restore_model(model: ImageTextModel, tensors: dict[str, Tensor], folder: Path) -> None:
    expected = {key: value.shape for key, value in model.state_dict().items()}
    found = {key: value.shape for key, value in tensors.items()}
    differing = sorted(key for key in expected | found if expected.get(key) != found.get(key))
    if differing:
        raise ValueError(
            f"'{folder}' holds another model than {model.card.name}: {len(differing)} tensors are "
            f"missing, unexpected or of another shape, such as {differing[0]}; "
            "resume with the recipe that wrote it."
        )
    model.load_state_dict(tensors)


def _restore_optimizer(state: TrainState, tensors: dict[str, Tensor], folder: Path) -> None:
    parameters = dict(state.model.named_parameters())
    moments: dict[Tensor, dict[str, Tensor]] = {}
    for full_name, value in tensors.items():
        name, _, key = full_name.rpartition(".")
        if name not in parameters:
            raise ValueError(
                f"'{folder / 'optimizer.safetensors'}' has moments of '{name}', which "
                f"{state.model.card.name} does not have; resume with the recipe that wrote it."
            )
        moments.setdefault(parameters[name], {})[key] = value
    ordered = [p for group in state.optimizer.param_groups for p in group["params"]]
    saved = state.optimizer.state_dict()
    saved["state"] = {i: moments[p] for i, p in enumerate(ordered) if p in moments}
    state.optimizer.load_state_dict(saved)


def _check_same_recipe(recipe: Recipe, written: dict[str, Any], folder: Path) -> None:
    current = _recipe_record(recipe)
    for field in current.keys() - set(FREE_FIELDS):
        if current[field] != written.get(field):
            raise ValueError(
                f"'{folder}' was written with {field}={written.get(field)}, this run has "
                f"{field}={current[field]}; resume with the same value or choose another output."
            )


def _read_description(folder: Path) -> dict[str, Any]:
    path = folder / "state.json"
    try:
        description = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise _damaged(path, error) from error
    if not isinstance(description, dict) or description.get("format") != FORMAT:
        raise _damaged(path, f"format is not {FORMAT}")
    if description.get("format_version") != FORMAT_VERSION:
        version = description.get("format_version")
        raise _damaged(path, f"format version {version}, this zoo reads {FORMAT_VERSION}")
    return description


def _read_tensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, reason: object) -> ValueError:
    return ValueError(
        f"'{path}' is not a whole part of a training checkpoint ({reason}); "
        f"delete the folder '{path.parent}' to resume from the one before it."
    )


def _contiguous(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {key: value.detach().contiguous() for key, value in tensors.items()}


def _remove(folder: Path) -> None:
    """Delete a checkpoint so that no half of it ever carries a checkpoint's name."""
    doomed = folder.with_name(f"{_UNFINISHED}{folder.name}")
    folder.rename(doomed)
    shutil.rmtree(doomed)


def _flush_to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
