"""The one training loop: batch, losses, gradient, step, log, checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from zoo.models.trainable import TrainableModel
from zoo.training.checkpoints.folders import starting_point
from zoo.training.checkpoints.random_state import seed_new_rank
from zoo.training.checkpoints.restore import restore_checkpoint
from zoo.training.checkpoints.train_state import BatchLoader, TrainState
from zoo.training.checkpoints.writer import CheckpointWriter
from zoo.training.evaluation import Evaluate, evaluate_now, write_weights
from zoo.training.fine_tuning.prepare import learning_rate_scales
from zoo.training.kernels import chosen_kernels
from zoo.training.metrics.progress import Progress
from zoo.training.metrics.run_log import RunLog
from zoo.training.metrics.stopwatch import Stopwatch
from zoo.training.optimization.ema import WeightAverage
from zoo.training.optimization.optimizer import build_optimizer
from zoo.training.optimization.schedule import recipe_learning_rate
from zoo.training.parallel.towers import Towers
from zoo.training.parallel.whole_model import WholeModel
from zoo.training.parallel.world import World
from zoo.training.precision import chosen_precision, gradient_scaler
from zoo.training.recipes.recipe import Recipe
from zoo.training.run import check_shares
from zoo.training.sam_clip.prepare import scales_of_sam_clip
from zoo.training.step import Update, update
from zoo.training.tasks.build import build_task
from zoo.training.tasks.task import AnyTask
from zoo.training.vision_language.prepare import scales_of_parts


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
    model: TrainableModel,
    loader: BatchLoader,
    world: World,
    resume: bool = False,
    on_evaluate: Evaluate | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> TrainResult:
    """Train `model` in place as `recipe` says and write its weights to the run folder.

    Every process of `world` calls it with the same arguments, but for its device and its loader.

    Args:
        recipe: the run.
        model: train-time form (`load_model(…, reparameterize=False)`), on the device to train on.
        loader: this process's share of batches of `recipe.batch_size` samples, again and again.
        world: the processes that train together.
        resume: continue from the latest checkpoint in the run folder, or begin when there is none.
            The losses from there on are bit for bit those of a run that was never interrupted.
        on_evaluate: called before every checkpoint in the main process; its figures go into
            metrics.jsonl.
        on_progress: called at every logged step in the main process.

    Raises ValueError when the run folder holds another run, the processes and parts do not divide
    the batch, a batch does not fit the task, the loader yields nothing, or a loss or gradient is
    not finite (the optimizer has not moved then).
    """
    recipe = replace(recipe, precision=chosen_precision(recipe.precision, world.device))
    check_shares(recipe, world)
    task = build_task(recipe, model, loader.teachers, group=world.group)
    whole_model = WholeModel(task.model, recipe, world)
    towers = Towers(task, recipe, world)
    state = _begin(recipe, task, loader, world)
    if checkpoint := starting_point(recipe.output, world, resume=resume):
        restore_checkpoint(state, checkpoint)
    batches, stopwatch = _endless(loader), Stopwatch()
    with (
        chosen_kernels(recipe, world.device),
        RunLog(recipe, world, step=state.step) as log,
        CheckpointWriter() as checkpoints,
    ):
        while state.step < recipe.steps:
            done = update(state, towers, stopwatch.next(batches))
            checkpoints.check()
            saves = _is_due(state, recipe.checkpoint_every)
            if saves or _is_due(state, recipe.log_every):
                progress = _progress(state, done, stopwatch)
                if saves:
                    figures = evaluate_now(state, whole_model, on_evaluate)
                    progress = replace(progress, evaluation=figures)
                log.append(progress)
                if on_progress and world.is_main:
                    on_progress(progress)
            if saves:
                checkpoints.save(state)
                stopwatch.restart()
    return TrainResult(
        weights=write_weights(state, whole_model),
        metrics=log.metrics,
        steps=state.step,
        samples_seen=state.samples_seen,
    )


def _begin(recipe: Recipe, task: AnyTask, loader: BatchLoader, world: World) -> TrainState:
    """The state before the first step."""
    task.train()
    if world.rank > 0:  # else all would drop out the same units of different samples
        seed_new_rank(recipe.seed, world.rank, step=0)
    decay = recipe.ema_decay
    return TrainState(
        recipe=recipe,
        task=task,
        optimizer=build_optimizer(task, recipe, _learning_rate_scales(recipe, task)),
        loader=loader,
        world=world,
        scaler=gradient_scaler(recipe.precision, world.device),
        average=None if decay is None else WeightAverage(task.model, decay),
    )


def _learning_rate_scales(recipe: Recipe, task: AnyTask) -> dict[str, float]:
    """The factors of the learning rate that the recipe asks for, by the task's names."""
    scales: dict[str, float] = {}
    if recipe.fine_tuning is not None:
        scales = learning_rate_scales(task.model, recipe.fine_tuning)
    if recipe.vision_language is not None:
        scales = scales_of_parts(task.model, recipe.vision_language, recipe.learning_rate)
    if recipe.sam_clip is not None:
        scales = scales_of_sam_clip(task.model, recipe.sam_clip)
    return {f"model.{name}": scale for name, scale in scales.items()}


def _is_due(state: TrainState, every: int) -> bool:
    return state.step % every == 0 or state.step == state.recipe.steps


def _progress(state: TrainState, done: Update, stopwatch: Stopwatch) -> Progress:
    recipe, device = state.recipe, state.world.device
    speed = stopwatch.read()
    return Progress(
        step=state.step,
        steps=recipe.steps,
        samples_seen=state.samples_seen,
        loss=sum(done.losses.values()),
        losses=done.losses,
        gauges=state.task.gauges(),
        learning_rate=recipe_learning_rate(recipe, state.step - 1),
        samples_per_second=speed.steps_per_second * recipe.batch_size,
        data_wait_fraction=speed.wait_fraction,
        evaluation={},
        elapsed_seconds=stopwatch.elapsed_seconds,
        gradient_norm=done.gradient_norm,
        peak_memory_bytes=torch.cuda.max_memory_allocated() if device.type == "cuda" else None,
    )


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
