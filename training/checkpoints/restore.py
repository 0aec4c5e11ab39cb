"""A checkpoint put back into a run."""

from __future__ import annotations

from pathlib import Path

from safetensors.torch import load_file

from zoo.reinforced_data.sidecars.tensor_file import TensorFile
from zoo.training.checkpoints.description import (
    DESCRIPTION,
    Description,
    read_description,
)
from zoo.training.checkpoints.random_state import seed_new_rank, set_random_state
from zoo.training.checkpoints.same_recipe import check_same_recipe
from zoo.training.checkpoints.tensors import Tensors, restore_tensors
from zoo.training.checkpoints.train_state import TrainState


def restore_checkpoint(state: TrainState, folder: Path) -> None:
    """Put the whole state back to where `folder` was written. Every process calls it.

    With as many processes as wrote it the run goes on bit for bit. With another number it goes on
    at the same sample: the place in the data is counted in global batches, a process takes the
    random states of its rank, and `seed_new_rank` gives some to a rank that there was not.

    Raises ValueError when the folder is damaged, is not a checkpoint of ours, belongs to another
    model, or was written with a recipe that leads elsewhere.
    """
    description = _read_description(folder)
    check_same_recipe(state.recipe, description["recipe"], folder)
    files = {
        name: _read_tensors(folder / name, digest) for name, digest in description["files"].items()
    }
    restore_tensors(state, files, folder)
    state.loader.load_state_dict(description["loader"])
    state.step = description["step"]
    if state.scaler is not None and description["scaler"] is not None:
        state.scaler.load_state_dict(description["scaler"])
    _restore_random_state(state, description)


def _restore_random_state(state: TrainState, description: Description) -> None:
    rank, saved = state.world.rank, description["random"]
    if rank < len(saved):
        set_random_state(saved[rank])
    else:
        seed_new_rank(state.recipe.seed, rank, state.step)


def _read_description(folder: Path) -> Description:
    path = folder / DESCRIPTION
    try:
        return read_description(path.read_bytes())
    except (OSError, ValueError) as error:
        raise _damaged(path, str(error)) from error


def _read_tensors(path: Path, digest: str) -> Tensors:
    """Read a file after all its bytes have been compared with its checksum."""
    try:
        file = TensorFile(path)
        file.verify()
    except (OSError, ValueError) as error:
        reason = "it is missing, truncated, altered or another's"
        raise _damaged(path, reason) from error
    if file.metadata["data_sha256"] != digest:
        raise _damaged(path, f"it is of another checkpoint than {DESCRIPTION}")
    return load_file(path)


def _damaged(path: Path, reason: str) -> ValueError:
    return ValueError(
        f"'{path}' is not a whole part of a training checkpoint ({reason}); "
        f"delete the folder '{path.parent}' to resume from the one before it."
    )
