"""How long training stands still for a checkpoint: written in the background, or waited for."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor

from zoo.models.image_text_model import ImageTextModel
from zoo.training.checkpoints.train_state import TrainState
from zoo.training.checkpoints.writer import CheckpointWriter
from zoo.training.parallel.world import World
from zoo.training.recipes.recipe import Recipe
from zoo.training.tasks.contrastive import ContrastiveTask


@dataclass(frozen=True, kw_only=True)
class CheckpointRow:
    """One way of writing the same state."""

    way: str
    stall_seconds: float
    """Median of the time that training stands still; the first, which also gets memory, apart."""
    lowest: float
    highest: float
    first: float


class _NoData:
    """A data loader's place, without data."""

    teachers: dict[str, Any] = {}  # noqa: RUF012

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        return iter(())

    def state_dict(self) -> dict[str, Any]:
        return {"position": 0}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """There is no place to go to."""


def measure_checkpoints(
    model: ImageTextModel,
    folder: Path,
    *,
    rounds: int,
    on_round: Callable[[int, int], None],
) -> list[CheckpointRow]:
    """Checkpoint a run of `model` under AdamW into `folder`, in turns with three ways of doing it.

    torch.save of model and optimizer as one file is what open_clip's training does.
    """
    state = _state(model, folder)
    waiting, going_on = CheckpointWriter(), CheckpointWriter()
    ways: dict[str, Callable[[], None]] = {
        "torch.save": lambda: _torch_save(state, folder / "peer.pt"),
        "zoo, waited for": lambda: _save_and_wait(waiting, state),
        "zoo, in the background": lambda: going_on.save(state),
    }
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    for done in range(rounds + 1):
        for way, save in ways.items():
            state.step += 1
            begin = time.perf_counter()
            save()
            seconds[way].append(time.perf_counter() - begin)
            going_on.wait()
        on_round(done, rounds)
    return [_row(way, values) for way, values in seconds.items()]


def _row(way: str, seconds: list[float]) -> CheckpointRow:
    first, *later = seconds
    return CheckpointRow(
        way=way, stall_seconds=median(later), lowest=min(later), highest=max(later), first=first
    )


def _state(model: ImageTextModel, folder: Path) -> TrainState:
    """A run after one step, so that AdamW has its moments."""
    task = ContrastiveTask(model)
    optimizer = torch.optim.AdamW(task.parameters())
    for parameter in task.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    return TrainState(
        recipe=Recipe(model=model.card.name, data="none", output=folder, samples_seen=256),
        task=task,
        optimizer=optimizer,
        loader=_NoData(),
        world=World(device=torch.device("cpu")),
    )


def _save_and_wait(writer: CheckpointWriter, state: TrainState) -> None:
    writer.save(state)
    writer.wait()


def _torch_save(state: TrainState, path: Path) -> None:
    tensors = {"model": state.model.state_dict(), "optimizer": state.optimizer.state_dict()}
    torch.save(tensors, path)
