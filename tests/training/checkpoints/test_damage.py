"""Damaged and foreign checkpoints say which file is wrong and what to do.

Run: pytest tests/training/checkpoints/test_damage.py
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from torch import nn
from toy_batches import ALONE, ToyLoader, losses_of, toy_batch, toy_recipe

from zoo.models.load import load_model
from zoo.reinforced_data.randomness import keyed_rng
from zoo.training.checkpoints.folders import (
    checkpoint_folder,
    checkpoints,
    draft_of,
    starting_point,
)
from zoo.training.checkpoints.restore import restore_checkpoint
from zoo.training.checkpoints.train_state import TrainState
from zoo.training.checkpoints.writer import CheckpointWriter
from zoo.training.tasks.contrastive import ContrastiveTask

FILES = ("model.safetensors", "optimizer.safetensors", "state.json")


def new_state(output: Path) -> TrainState:
    model = load_model("mobileclip-tiny", weights=None, reparameterize=False)
    task = ContrastiveTask(model)
    recipe = toy_recipe(output)
    optimizer = torch.optim.AdamW(task.parameters())
    return TrainState(
        recipe=recipe, task=task, optimizer=optimizer, loader=ToyLoader(recipe), world=ALONE
    )


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Checkpoints after one and two steps."""
    state = new_state(tmp_path_factory.mktemp("run"))
    with CheckpointWriter() as writer:
        for _ in range(2):
            losses = losses_of(state.task, toy_batch(state.step, 4))
            losses["contrastive_loss"].backward()
            state.optimizer.step()
            state.step += 1
            writer.save(state)
    return state.recipe.output


@pytest.fixture
def saved(written: Path, tmp_path: Path) -> Path:
    """The later checkpoint, in a copy of the run folder that may be damaged."""
    return checkpoints(Path(shutil.copytree(written, tmp_path / "run")))[-1]


@pytest.fixture
def state(saved: Path) -> TrainState:
    """A run at its beginning that is to go on from there."""
    return new_state(saved.parent)


def test_half_written_checkpoints_are_ignored_and_cleared(saved: Path) -> None:
    half = draft_of(checkpoint_folder(saved.parent, 9))
    half.mkdir()
    (half / "model.safetensors").write_bytes(b"half")
    assert starting_point(saved.parent, ALONE, resume=True) == saved
    assert not half.exists()


def test_a_run_that_is_not_to_be_resumed_is_left_alone(saved: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="already holds a run; resume it"):
        starting_point(saved.parent, ALONE, resume=False)
    assert starting_point(tmp_path / "fresh", ALONE, resume=True) is None


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", ["truncated", "missing", "foreign"])
def test_a_damaged_checkpoint_names_the_file(
    name: str, damage: str, state: TrainState, saved: Path
) -> None:
    path = saved / name
    content = path.read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(content[: len(content) // 2] if damage == "truncated" else b'{"a": 1}')
    with pytest.raises(ValueError, match=rf"{name}' is not a whole part of a training checkpoint"):
        restore_checkpoint(state, saved)


@pytest.mark.parametrize("name", FILES)
def test_one_flipped_bit_anywhere_names_the_file(name: str, state: TrainState, saved: Path) -> None:
    path = saved / name
    content = path.read_bytes()
    rng = keyed_rng("flip", name)
    places = [0, 8, len(content) - 1, *map(int, rng.integers(len(content), size=10))]
    for place in places:
        damaged = bytearray(content)
        damaged[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=rf"{name}' is not a whole part of a training check"):
            restore_checkpoint(state, saved)


@pytest.mark.parametrize("name", FILES[:2])
def test_a_file_of_another_checkpoint_is_refused(name: str, state: TrainState, saved: Path) -> None:
    older = checkpoints(saved.parent)[0]
    (saved / name).write_bytes((older / name).read_bytes())
    with pytest.raises(ValueError, match=rf"{name}' .*of another checkpoint than state\.json"):
        restore_checkpoint(state, saved)


def test_a_checkpoint_of_another_model_is_refused(state: TrainState, saved: Path) -> None:
    state.model.extra = nn.Parameter(torch.zeros(3))
    with pytest.raises(ValueError, match=r"holds another model than mobileclip-tiny.* as extra;"):
        restore_checkpoint(state, saved)


def test_a_checkpoint_of_another_task_is_refused(state: TrainState, saved: Path) -> None:
    state.task.own = nn.Linear(2, 2)
    with pytest.raises(ValueError, match=r"task\.safetensors' holds another model.* as own\.bias;"):
        restore_checkpoint(state, saved)


def test_a_checkpoint_of_another_format_is_refused(state: TrainState, saved: Path) -> None:
    path = saved / "state.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format_version": 1}))
    with pytest.raises(ValueError, match="format version 1, this zoo reads 2"):
        restore_checkpoint(state, saved)
