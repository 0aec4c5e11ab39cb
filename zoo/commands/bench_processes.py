"""`zoo bench processes`: two processes train as one does."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import tyro

from zoo.commands.bench import RESULTS
from zoo.commands.console import heading, show_table, status
from zoo.eval.results import append_result, result_record
from zoo.training.benchmarks.two_processes import AgreementRow, measure_agreement
from zoo.training.recipes.recipe import Recipe
from zoo.training.recipes.registry import get_recipe

LARGEST_DIFFERENCE = 1e-5
_QUICK_STEPS = 5
_QUICK_BATCH_SIZE = 16


def processes(
    *,
    shards: Annotated[str, tyro.conf.arg(metavar="SHARDS")],
    model: str = "mobileclip-tiny",
    batch_size: int = 64,
    steps: int = 50,
    quick: bool = False,
    results: Path = RESULTS,
) -> None:
    """Compare the losses of two gloo processes with those of one, with the same global batch.

    Plain contrastive training on the CPU by DDP and by FSDP2, with synchronised BatchNorm, in
    float32 and with a fifth of the steps as warm-up. The goal is a relative difference of at
    most 1e-5 at every step.

    Args:
        shards: photographs with captions.
        model: name of the model to train.
        batch_size: samples a step, of all processes together.
        steps: optimizer steps.
        quick: 5 steps of 16 samples.
        results: file that the JSON lines are appended to.
    """
    if quick:
        batch_size, steps = _QUICK_BATCH_SIZE, _QUICK_STEPS
    with tempfile.TemporaryDirectory() as folder:
        recipe = _recipe(shards, model, batch_size, steps, Path(folder))
        rows = measure_agreement(recipe, on_run=status)
    for row in rows:
        append_result(results, _record(row, recipe))
    heading(f"{model}, {steps} steps of {batch_size} samples")
    show_table(_COLUMNS, [_cells(row) for row in rows])


def _recipe(shards: str, model: str, batch_size: int, steps: int, output: Path) -> Recipe:
    return replace(
        get_recipe("flickr1k"),
        task="contrastive",
        data=shards,
        model=model,
        batch_size=batch_size,
        samples_seen=batch_size * steps,
        learning_rate=1e-3,
        warmup_samples=batch_size * steps // 5,
        channels_last=False,
        checkpoint_every=steps,
        precision="float32",
        output=output,
    )


def _record(row: AgreementRow, recipe: Recipe) -> dict[str, object]:
    metrics = {"largest_difference": row.largest_difference}
    return result_record(
        model=f"{recipe.model} ({row.parallel})",
        dataset=recipe.data,
        protocol={"batch_size": recipe.batch_size, "steps": row.steps, "processes": 2},
        metrics=metrics,
        units={name: "fraction" for name in metrics},
    )


_COLUMNS = ("two processes", "loss of one, first…last", "largest relative difference", "goal")


def _cells(row: AgreementRow) -> list[str]:
    met = row.largest_difference <= LARGEST_DIFFERENCE
    return [
        row.parallel,
        f"{row.first_loss:.4f}…{row.last_loss:.4f}",
        f"{row.largest_difference:.1e}",
        f"{LARGEST_DIFFERENCE:.0e} {'met' if met else 'missed'}",
    ]
