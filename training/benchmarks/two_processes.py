"""Two processes against one with the same global batch: how far apart their losses are."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from zoo.training.loop import train
from zoo.training.parallel.launch import run_in_processes
from zoo.training.parallel.world import training_world
from zoo.training.recipes.choices import Parallel
from zoo.training.recipes.recipe import Recipe
from zoo.training.run import build_loader, build_model

_PARALLEL: tuple[Parallel, ...] = ("ddp", "fsdp")


@dataclass(frozen=True, kw_only=True)
class AgreementRow:
    """One way to share a model, against one process."""

    parallel: Parallel
    steps: int
    largest_difference: float
    """Over all steps, of the loss from that of one process, as a share of it."""
    first_loss: float
    """Of one process, at the first step."""
    last_loss: float
    """Of one process, at the last step."""


def measure_agreement(
    recipe: Recipe, *, on_run: Callable[[str], None] | None = None
) -> list[AgreementRow]:
    """Train `recipe` in one gloo process and in two, by DDP and by FSDP2, on the CPU.

    BatchNorm is synchronised: without, two processes are another computation. `on_run` is told what
    begins. Raises what training does.
    """
    tell = on_run or (lambda name: None)
    recipe = replace(recipe, synchronize_batch_norm=True, log_every=1)
    tell("one process")
    one = run_in_processes(training_losses, 1, recipe)[0]
    rows = []
    for parallel in _PARALLEL:
        tell(f"two processes, {parallel}")
        two = run_in_processes(training_losses, 2, replace(recipe, parallel=parallel))[0]
        differences = [abs(a - b) / a for a, b in zip(one, two, strict=True)]
        rows.append(
            AgreementRow(
                parallel=parallel,
                steps=len(one),
                largest_difference=max(differences),
                first_loss=one[0],
                last_loss=one[-1],
            )
        )
    return rows


def training_losses(recipe: Recipe) -> list[float]:
    """Train in this process's world and return the loss of every step; rank 0 alone has them."""
    losses: list[float] = []
    with training_world("cpu") as world, tempfile.TemporaryDirectory() as folder:
        # A folder for each; only that of rank 0 is written to.
        recipe = replace(recipe, output=Path(folder))
        model = build_model(recipe, world.device)
        train(
            recipe,
            model=model,
            loader=build_loader(recipe, model, world),
            world=world,
            on_progress=lambda progress: losses.append(progress.loss),
        )
    return losses
