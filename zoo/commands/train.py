"""`zoo train RECIPE --field value`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from zoo.commands.console import duration, say, show_table, status
from zoo.eval.datasets import EvalDataset, read_tar_dataset
from zoo.eval.evaluate import evaluate
from zoo.models.image_text_model import ImageTextModel
from zoo.training.loop import TrainResult
from zoo.training.loop import train as run_loop
from zoo.training.metrics.progress import Progress
from zoo.training.parallel.world import training_world
from zoo.training.recipes.recipe import Recipe
from zoo.training.recipes.registry import RECIPES, get_recipe
from zoo.training.run import build_loader, build_model

Evaluate = Callable[[ImageTextModel, int], Mapping[str, float]]


@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """A recipe and how to run it."""

    recipe: Annotated[Recipe, tyro.conf.arg(name="")]
    resume: bool = False
    """Go on from the latest checkpoint in the output folder, if there is one."""
    validation: Path | None = None
    """Shards to evaluate zero-shot at every checkpoint."""
    class_names: Path | None = None
    """Text file with the class names of the validation shards, one a line."""
    device: str = "cpu"
    """Where to train, e.g. cuda."""


def train(arguments: list[str]) -> None:
    """Run the recipe named first; the other arguments change its fields."""
    if not arguments or arguments[0] in ("-h", "--help", "--list"):
        _show_recipes()
        return
    name, *rest = arguments
    options = tyro.cli(
        TrainOptions,
        prog=f"zoo train {name}",
        description=RECIPES[name].__doc__ if name in RECIPES else None,
        default=TrainOptions(recipe=get_recipe(name)),
        args=rest,
    )
    result = run_training(options)
    say(f"wrote {result.weights} after {result.steps} steps")


def run_training(options: TrainOptions) -> TrainResult:
    """Train as `options` say, showing progress."""
    recipe = options.recipe
    with training_world(options.device) as world:
        model = build_model(recipe, world.device)
        return run_loop(
            recipe,
            model=model,
            loader=build_loader(recipe, model),
            world=world,
            resume=options.resume,
            on_evaluate=_evaluation(options),
            on_progress=_show_progress,
        )


def _evaluation(options: TrainOptions) -> Evaluate | None:
    if options.validation is None:
        return None
    dataset = read_tar_dataset(options.validation, class_names=options.class_names)
    if dataset.labels is not None and dataset.class_names is None:
        raise ValueError(f"'{options.validation}' has labels; give --class-names their file.")
    return lambda model, _: _figures(model, dataset)


def _figures(model: ImageTextModel, dataset: EvalDataset) -> dict[str, float]:
    return {
        name: value
        for evaluation in evaluate(model, dataset)
        for name, value in evaluation.metrics.items()
    }


def _show_progress(progress: Progress) -> None:
    parts = ", ".join(f"{name} {value:.3f}" for name, value in progress.losses.items())
    line = (
        f"step {progress.step}/{progress.steps}, {parts}, "
        f"{progress.samples_per_second:.0f} samples a second, "
        f"{progress.data_wait_fraction:.0%} waiting for data, "
        f"{duration(progress.eta_seconds)} left"
    )
    status(line)
    if progress.evaluation:
        figures = ", ".join(f"{name} {value:.3f}" for name, value in progress.evaluation.items())
        say(f"step {progress.step}: {figures}")


def _show_recipes() -> None:
    rows = [[name, (build.__doc__ or "").split("\n")[0]] for name, build in RECIPES.items()]
    sys.stdout.write("usage: zoo train RECIPE --field value …\n\n")
    show_table(["recipe", "what it trains"], rows)
