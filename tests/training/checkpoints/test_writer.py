"""Checkpoints are written while training goes on, whole or not at all.

Run: pytest tests/training/checkpoints/test_writer.py
"""

from __future__ import annotations

import json
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from toy_batches import ALONE, ToyLoader, losses_of, toy_batch, toy_recipe

from zoo.models.load import load_model
from zoo.training.checkpoints.folders import checkpoints
from zoo.training.checkpoints.restore import restore_checkpoint
from zoo.training.checkpoints.train_state import TrainState
from zoo.training.checkpoints.writer import CheckpointWriter
from zoo.training.optimization.ema import WeightAverage
from zoo.training.tasks.contrastive import ContrastiveTask


def new_state(output: Path, *, seed: int = 0) -> TrainState:
    """A run at its beginning that has every kind of tensor: also a task's own, and an average."""
    torch.manual_seed(seed)
    recipe = toy_recipe(output)
    model = load_model("mobileclip-tiny", weights=None, reparameterize=False)
    task = ContrastiveTask(model)
    task.own = nn.Linear(3, 2, dtype=torch.bfloat16)
    task.register_buffer("flags", torch.tensor([True, False]))
    return TrainState(
        recipe=recipe,
        task=task,
        optimizer=torch.optim.AdamW(task.parameters()),
        loader=ToyLoader(recipe),
        world=ALONE,
        scaler=torch.amp.GradScaler("cpu", init_scale=2.0**12),
        average=WeightAverage(model, 0.9),
    )


def make_step(state: TrainState) -> None:
    losses = losses_of(state.task, toy_batch(state.step, 4))
    own = state.task.get_submodule("own")(torch.ones(3, dtype=torch.bfloat16)).sum()
    torch.stack([*losses.values(), own.float()]).sum().backward()
    state.optimizer.step()
    assert state.average is not None
    state.average.update(state.model)
    state.step += 1


def tensors_of(state: TrainState) -> dict[str, Tensor]:
    assert state.average is not None
    moments = {
        f"{name}.{key}": value
        for name, parameter in state.task.named_parameters()
        for key, value in state.optimizer.state[parameter].items()
    }
    averages = {f"average.{name}": value for name, value in state.average.state_dict().items()}
    return {**state.task.state_dict(), **moments, **averages}


def copied(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in tensors.items()}


def equal(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(
        first[name].dtype == second[name].dtype and torch.equal(first[name], second[name])
        for name in first
    )


@contextmanager
def full_disk(most_bytes: int) -> Iterator[None]:
    """Let no file of this process grow beyond `most_bytes`."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_checkpoint_holds_the_state_at_its_step_though_training_goes_on(tmp_path: Path) -> None:
    state = new_state(tmp_path)
    saved: list[tuple[dict[str, Tensor], float]] = []
    with CheckpointWriter() as writer:
        for _ in range(2):
            make_step(state)
            tensors = copied(tensors_of(state))
            writer.save(state)
            saved.append((tensors, torch.rand(()).item()))
        with torch.no_grad():  # before the thread has got far
            for tensor in tensors_of(state).values():
                tensor.zero_()
    for folder, (expected, next_draw) in zip(checkpoints(tmp_path), saved, strict=True):
        other = new_state(tmp_path, seed=1)
        make_step(other)
        restore_checkpoint(other, folder)
        assert torch.rand(()).item() == next_draw
        assert equal(tensors_of(other), expected)
        assert other.step == int(folder.name[-8:])
        assert other.scaler is not None and other.scaler.get_scale() == 2.0**12


def test_every_kind_of_tensor_has_its_file(tmp_path: Path) -> None:
    state = new_state(tmp_path)
    make_step(state)
    with CheckpointWriter() as writer:
        writer.save(state)
    (folder,) = checkpoints(tmp_path)
    assert {path.name for path in folder.iterdir()} == {
        "model.safetensors",
        "task.safetensors",
        "optimizer.safetensors",
        "average.safetensors",
        "state.json",
    }
    assert load_file(folder / "model.safetensors").keys() == state.model.state_dict().keys()
    own = load_file(folder / "task.safetensors")
    assert own.keys() == {"own.weight", "own.bias", "flags"}
    assert own["own.weight"].dtype == torch.bfloat16 and own["flags"].tolist() == [True, False]
    assert json.loads((folder / "state.json").read_text())["step"] == 1


def test_a_full_disk_ends_in_one_sentence_and_leaves_the_older_checkpoint(tmp_path: Path) -> None:
    state = new_state(tmp_path)
    make_step(state)
    with CheckpointWriter() as writer:
        writer.save(state)
    make_step(state)
    with (
        pytest.raises(
            OSError, match=r"step-00000002' could not be written \(File too large\)"
        ) as e,
        full_disk(100_000),
        CheckpointWriter() as writer,
    ):
        writer.save(state)
        make_step(state)
        writer.save(state)  # waits for the write before, which fails
    assert "'step-00000001' is whole" in str(e.value) and e.value.strerror is None
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000001"]
    other = new_state(tmp_path, seed=1)
    make_step(other)
    restore_checkpoint(other, tmp_path / "step-00000001")


def test_a_failed_write_is_told_at_the_next_step_and_at_the_end(tmp_path: Path) -> None:
    state = new_state(tmp_path / "gone")
    make_step(state)
    with (
        pytest.raises(OSError, match=r"No such file.*there is no checkpoint before it"),
        CheckpointWriter() as writer,
    ):
        writer.save(state)
    writer = CheckpointWriter()
    writer.save(state)
    with pytest.raises(OSError, match="No such file"):
        for _ in range(10_000_000):
            writer.check()


def test_what_ends_training_is_not_hidden_by_a_failed_write(tmp_path: Path) -> None:
    state = new_state(tmp_path / "gone")
    make_step(state)
    with pytest.raises(ValueError, match="the loss is nan"), CheckpointWriter() as writer:
        writer.save(state)
        raise ValueError("the loss is nan")
