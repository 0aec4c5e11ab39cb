"""Everything that changes while a run goes on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor

from zoo.reinforced_data.sidecars.header import TeacherInfo
from zoo.training.parallel.world import World
from zoo.training.recipes.recipe import Recipe
from zoo.training.tasks.task import AnyTask

if TYPE_CHECKING:
    from zoo.training.optimization.ema import WeightAverage


class BatchLoader(Protocol):
    """What training asks of a data loader."""

    @property
    def teachers(self) -> Mapping[str, TeacherInfo]:
        """The teachers whose embeddings are in the batches, by name; empty without any."""
        ...

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        """Yield the batches that follow the current place in the data."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return the place after the last batch that was yielded, as JSON values.

        It is the same in every process: the place is counted in global batches.
        """
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go to a place that `state_dict` returned, with any number of processes."""
        ...


@dataclass(kw_only=True)
class TrainState:
    """Everything that changes while a run goes on; all of it is saved."""

    recipe: Recipe
    task: AnyTask
    """The task itself, not what DDP or the compiler wrap around it."""
    optimizer: torch.optim.Optimizer
    loader: BatchLoader
    world: World
    scaler: torch.amp.GradScaler | None = None
    """Scales the loss under float16; None otherwise."""
    average: WeightAverage | None = None
    """Moving average of the model's weights; None where the recipe keeps none."""
    step: int = 0
    """Optimizer steps done."""

    @property
    def model(self) -> Any:
        """The model that the task trains."""
        return self.task.model

    @property
    def samples_seen(self) -> int:
        """Samples that the steps done have used, over all processes."""
        return self.step * self.recipe.batch_size
