"""Where the figures of a run go, and what the run folder says of the run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from zoo.training.checkpoints.folders import METRICS_NAME
from zoo.training.checkpoints.same_recipe import recipe_record
from zoo.training.metrics.metrics_file import MetricsFile
from zoo.training.metrics.progress import Progress
from zoo.training.metrics.run_description import describe_run
from zoo.training.metrics.tensorboard import TensorBoardEvents
from zoo.training.metrics.weights_and_biases import WandbRun
from zoo.training.parallel.world import World
from zoo.training.recipes.recipe import Recipe


class Sink(Protocol):
    """A place that takes the figures of logged steps."""

    def append(self, record: Mapping[str, float]) -> None:
        """Add the figures of one step, `step` among them."""
        ...

    def close(self) -> None:
        """Write what is left."""
        ...


class RunLog:
    """metrics.jsonl and TensorBoard events always, Weights & Biases on request; rank 0 alone.

        with RunLog(recipe, world, step=state.step) as log:    # after a checkpoint is restored
            log.append(progress)

    Opening it writes `recipe.json` and goes back to `step`: later lines and events are dropped,
    since a resumed run makes these steps again. Raises ValueError for a metrics.jsonl that is not
    one, and where Weights & Biases is asked for and not installed.
    """

    def __init__(self, recipe: Recipe, world: World, *, step: int) -> None:
        self.metrics = recipe.output / METRICS_NAME
        self._sinks: list[Sink] = []
        if world.is_main:
            describe_run(recipe, world, step)
            self._sinks = _open_sinks(recipe, self.metrics, step)

    def append(self, progress: Progress) -> None:
        """Give a logged step to every sink."""
        record = progress.to_record()
        for sink in self._sinks:
            sink.append(record)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for sink in self._sinks:
            sink.close()


def _open_sinks(recipe: Recipe, metrics: Path, step: int) -> list[Sink]:
    sinks: list[Sink] = []
    if recipe.wandb_project is not None:  # first, since it may be missing
        sinks.append(WandbRun(recipe.wandb_project, recipe.output, recipe_record(recipe)))
    lines = MetricsFile(metrics)
    lines.keep_until(step)
    return [lines, TensorBoardEvents(recipe.output / "tensorboard", step + 1), *sinks]
