"""Short runs, whole and interrupted, and what their metrics say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from toy_batches import ALONE, ToyLoader, losses_of

from zoo.training.loop import train
from zoo.training.metrics.progress import Progress
from zoo.training.recipes.recipe import Recipe
from zoo.training.run import build_loader, build_model
from zoo.training.tasks.task import Task

# What differs between two runs that compute the same.
_TIMES = ("samples_per_second", "data_wait_fraction", "elapsed_seconds")


class Interrupted(Exception):
    """Stands for a signal that ends the process."""


def parameters_without_gradient(task: Task, batch: dict[str, Tensor]) -> list[str]:
    """Return the names of the task's parameters that the losses of a batch do not reach."""
    task.zero_grad()
    torch.stack(list(losses_of(task, batch).values())).sum().backward()
    return [name for name, p in task.named_parameters() if p.grad is None]


def run(recipe: Recipe, *, resume: bool = False, stop_after: int | None = None) -> Path:
    """Train, on toy batches where the recipe's data are "toy"; return the weights file.

    Raises `Interrupted` after step `stop_after`.
    """

    def stop(progress: Progress) -> None:
        if progress.step == stop_after:
            raise Interrupted

    model = build_model(recipe)
    loader = ToyLoader(recipe) if recipe.data == "toy" else build_loader(recipe, model)
    return train(
        recipe, model=model, loader=loader, world=ALONE, resume=resume, on_progress=stop
    ).weights


def run_with_interruption(recipe: Recipe, *, stop_after: int) -> Path:
    """Train, begin again after an interruption, and return the weights file."""
    try:
        run(recipe, stop_after=stop_after)
    except Interrupted:
        return run(recipe, resume=True)
    raise AssertionError("the run ended before its interruption")


def read_metrics(output: Path) -> list[dict[str, Any]]:
    """Return the metrics of every step, times left out."""
    lines = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k not in _TIMES} for line in lines]
