"""The one training loop: batch, losses, gradient, step, log, checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from zoo.models.checkpoint import save_weights
from zoo.models.image_text_model import ImageTextModel
from zoo.training.checkpoints.checkpoint import (
    checkpoints,
    remove_unfinished,
    restore_checkpoint,
    save_checkpoint,
)
from zoo.training.checkpoints.train_state import BatchLoader, TrainState
from zoo.training.metrics.metrics_file import MetricsFile
from zoo.training.metrics.progress import Progress
from zoo.training.metrics.stopwatch import Speed, Stopwatch
from zoo.training.optimization.optimizer import build_optimizer
from zoo.training.parallel.world import World
from zoo.training.recipes.recipe import Recipe
from zoo.training.step import update
from zoo.training.tasks.build import build_task

Evaluate = Callable[[ImageTextModel, int], Mapping[str, float]]
"""(model in eval mode, steps done) -> named figures."""


@dataclass(frozen=True, kw_only=True)
class TrainResult:
    """What a finished run leaves behind."""

    weights: Path
    """safetensors file of the trained model, train-time form."""
    metrics: Path
    """metrics.jsonl."""
    steps: int
    samples_seen: int


def train(
    recipe: Recipe,
    *,
    model: ImageTextModel,
    loader: BatchLoader,
    world: World,
    resume: bool = False,
    on_evaluate: Evaluate | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> TrainResult:
    """Train `model` in place as `recipe` says and write its weights to the run folder.

    Args:
        recipe: the run.
        model: train-time form (`load_model(…, reparameterize=False)`), on the device to train on.
        loader: batches of `recipe.batch_size` samples, for as many passes as the run needs.
        world: the processes that train together.
        resume: continue from the latest checkpoint in the run folder, or begin when there is none.
            The losses from there on are bit for bit those of a run that was never interrupted.
        on_evaluate: called before every checkpoint; its figures go into metrics.jsonl.
        on_progress: called at every logged step.

    Raises ValueError when the run folder holds another run, a batch does not fit the task, the
    loader yields nothing, or a loss or gradient is not finite (the optimizer has not moved then).
    """
    metrics = MetricsFile(recipe.output / "metrics.jsonl")
    state = _start(recipe, model, loader, world)
    _open_run_folder(state, metrics, resume)
    batches, stopwatch = _endless(loader), Stopwatch()
    while state.step < recipe.steps:
        losses = update(state, stopwatch.next(batches))
        saves = _is_due(state, recipe.checkpoint_every)
        if saves or _is_due(state, recipe.log_every):
            speed = stopwatch.read()
            evaluation = _evaluate(state, on_evaluate) if saves else {}
            progress = _progress(state, losses, state.task.gauges(), speed, evaluation)
            metrics.append(progress.to_record())
            if on_progress:
                on_progress(progress)
        if saves:
            save_checkpoint(state)
            stopwatch.restart()
    return _finish(state, metrics)


def _start(recipe: Recipe, model: ImageTextModel, loader: BatchLoader, world: World) -> TrainState:
    task = build_task(recipe, model, loader.teachers, group=world.group)
    task.train()
    optimizer = build_optimizer(
        model, recipe.learning_rate, weight_decay=recipe.weight_decay, betas=recipe.betas
    )
    return TrainState(recipe=recipe, task=task, optimizer=optimizer, loader=loader, world=world)


def _finish(state: TrainState, metrics: MetricsFile) -> TrainResult:
    weights = state.recipe.output / "weights.safetensors"
    save_weights(state.model.eval(), weights)
    return TrainResult(
        weights=weights,
        metrics=metrics.path,
        steps=state.step,
        samples_seen=state.samples_seen,
    )


def _is_due(state: TrainState, every: int) -> bool:
    return state.step % every == 0 or state.step == state.recipe.steps


def _evaluate(state: TrainState, on_evaluate: Evaluate | None) -> Mapping[str, float]:
    if on_evaluate is None:
        return {}
    state.model.eval()
    with torch.no_grad():
        evaluation = on_evaluate(state.model, state.step)
    state.model.train()
    return evaluation


def _progress(
    state: TrainState,
    losses: Mapping[str, float],
    gauges: Mapping[str, float],
    speed: Speed,
    evaluation: Mapping[str, float],
) -> Progress:
    return Progress(
        step=state.step,
        steps=state.recipe.steps,
        samples_seen=state.samples_seen,
        loss=sum(losses.values()),
        losses=losses,
        gauges=gauges,
        learning_rate=state.optimizer.param_groups[0]["lr"],
        samples_per_second=speed.steps_per_second * state.recipe.batch_size,
        data_wait_fraction=speed.wait_fraction,
        evaluation=evaluation,
    )


def _open_run_folder(state: TrainState, metrics: MetricsFile, resume: bool) -> None:
    """Start in a fresh folder, or go back to the latest checkpoint and forget what came after."""
    output = state.recipe.output
    saved = checkpoints(output)
    if not resume and (saved or metrics.path.exists()):
        raise ValueError(
            f"'{output}' already holds a run; resume it (--resume), delete the folder or "
            "choose another output."
        )
    output.mkdir(parents=True, exist_ok=True)
    remove_unfinished(output)
    if saved:
        restore_checkpoint(state, saved[-1])
    metrics.keep_until(state.step)


def _endless(loader: BatchLoader) -> Iterator[Mapping[str, Tensor]]:
    """Pass through the data again and again."""
    empty_passes = 0
    while empty_passes < 2:  # a run that resumes at the end of a pass meets one
        empty_passes += 1
        for batch in loader:
            empty_passes = 0
            yield batch
    raise ValueError(
        "The data loader yields no batch; the shards hold fewer samples than one batch, "
        "so lower batch_size or add data."
    )
