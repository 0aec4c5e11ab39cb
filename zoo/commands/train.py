"""`zoo train RECIPE --field value`."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import tyro

from zoo.commands.console import duration, say, show_table, status
from zoo.commands.data_pack import packing_progress
from zoo.commands.forgetting import StoredMasks, zero_shot_figures
from zoo.eval.datasets import EvalDataset, read_tar_dataset
from zoo.eval.evaluate import evaluate
from zoo.eval.vision_language.conversation_files import read_questions
from zoo.eval.vision_language.own_questions import evaluate_questions
from zoo.models.card import SamClipCard
from zoo.models.image_text_model import ImageTextModel
from zoo.models.registry import get_card_of
from zoo.models.sam_clip.sam_clip_model import SamClipModel
from zoo.models.trainable import TrainableModel
from zoo.reinforced_data.shards.pack import shards_of
from zoo.training.checkpoints.train_state import BatchLoader
from zoo.training.evaluation import Evaluate
from zoo.training.loop import TrainResult
from zoo.training.loop import train as run_loop
from zoo.training.metrics.progress import Progress
from zoo.training.parallel.world import World, one_complaint, training_world
from zoo.training.recipes.recipe import Recipe
from zoo.training.recipes.registry import RECIPES, get_recipe
from zoo.training.run import build_loader, build_model
from zoo.training.sam_clip.run import build_sam_clip_of, build_streams
from zoo.training.sam_clip.settings import SamClip
from zoo.training.vision_language.run import (
    build_conversation_loader,
    build_vision_language_model_of,
)


@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """A recipe and how to run it."""

    recipe: Annotated[Recipe, tyro.conf.arg(name="")]
    resume: bool = False
    """Go on from the latest checkpoint in the output folder, if there is one."""
    validation: Path | None = None
    """What to evaluate at every checkpoint: shards, zero-shot; for visual instruction questions in
    LLaVA's form (.json, .jsonl or shards), answers word for word; for SAM-CLIP shards, zero-shot
    at each of its image sizes."""
    mask_validation: tuple[Path, ...] = ()
    """SAM-CLIP: shards with mask sidecars beside them, with which its masks are compared at every
    checkpoint; of a SAM (what is forgotten), of the truth, or one of each."""
    class_names: Path | None = None
    """Text file with the class names of the validation shards, one a line."""
    device: str = "cpu"
    """Where to train, e.g. cuda."""


def train(arguments: list[str]) -> None:
    """Run the recipe named first; the other arguments change its fields."""
    if not arguments or arguments[0] in ("-h", "--help", "--list"):
        _show_recipes()
        return
    with one_complaint():
        options = _options(*arguments)
    run_training(options)


def _options(name: str, *changes: str) -> TrainOptions:
    """Return the recipe called `name`, its fields changed as the command line says."""
    return tyro.cli(
        TrainOptions,
        prog=f"zoo train {name}",
        description=RECIPES[name].__doc__ if name in RECIPES else None,
        default=TrainOptions(recipe=get_recipe(name)),
        args=changes,
        config=(tyro.conf.AvoidSubcommands,),
    )


def run_training(options: TrainOptions) -> TrainResult:
    """Train as `options` say, alone or as one of torchrun's processes, showing progress."""
    with training_world(options.device) as world:
        recipe = _with_shards(options.recipe)
        model, loader = _parts(recipe, world)
        result = run_loop(
            recipe,
            model=model,
            loader=loader,
            world=world,
            resume=options.resume,
            on_evaluate=_evaluation(options),
            on_progress=_show_progress,
        )
        if world.is_main:
            say(f"wrote {result.weights} after {result.steps} steps")
    return result


def _parts(recipe: Recipe, world: World) -> tuple[TrainableModel, BatchLoader]:
    """The model to train and this process's share of the data."""
    if recipe.task == "visual-instruction":
        model = build_vision_language_model_of(recipe, world.device)
        return model, build_conversation_loader(recipe, model, world)
    if recipe.task == "sam-clip":
        model = build_sam_clip_of(recipe, world.device)
        return model, build_streams(recipe, model, world)
    model = build_model(recipe, world.device)
    return model, build_loader(recipe, model, world)


def _with_shards(recipe: Recipe) -> Recipe:
    """Name the shards that are made of a folder or table of pictures, if the data is one."""
    if recipe.task == "visual-instruction":
        return recipe
    shards = shards_of(recipe.data, recipe.cache_folder, on_progress=packing_progress())
    return replace(recipe, data=shards)


def _evaluation(options: TrainOptions) -> Evaluate | None:
    if options.recipe.sam_clip is not None:
        return _forgetting(options, options.recipe.sam_clip)
    if options.mask_validation:
        raise ValueError(f"--mask-validation is SAM-CLIP's; leave it out of {options.recipe.task}.")
    if options.validation is None:
        return None
    if options.recipe.vision_language is not None:
        images = options.recipe.vision_language.images
        questions = read_questions(options.validation, images=images)
        return lambda model, _: evaluate_questions(model, questions).metrics
    dataset = _validation_data(options.validation, options.class_names)
    return lambda model, _: _figures(model, dataset)


def _validation_data(shards: Path, class_names: Path | None) -> EvalDataset:
    dataset = read_tar_dataset(shards, class_names=class_names)
    if dataset.labels is not None and dataset.class_names is None:
        raise ValueError(f"'{shards}' has labels; give --class-names their file.")
    return dataset


def _forgetting(options: TrainOptions, settings: SamClip) -> Evaluate | None:
    """What tells at every checkpoint of a SAM-CLIP how much it knows of each of its teachers."""
    if options.validation is None and not options.mask_validation:
        return None
    if options.validation is not None and not settings.reads_embeddings:
        raise ValueError(
            "A SAM-CLIP that learns masks alone has no words yet; give --mask-validation in place "
            "of --validation."
        )
    shards = options.validation
    dataset = None if shards is None else _validation_data(shards, options.class_names)
    side = get_card_of(SamClipCard, options.recipe.model).mask_image_size
    stored = [StoredMasks(shards, image_size=side) for shards in options.mask_validation]

    def figures(model: SamClipModel, _: int) -> dict[str, float]:
        found = {} if dataset is None else zero_shot_figures(model, dataset, settings.image_sizes)
        return found | {k: v for masks in stored for k, v in masks.agreement(model).items()}

    return figures


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
    sys.stdout.write(
        "usage: zoo train RECIPE --field value …\n"
        "       torchrun --nproc-per-node N -m zoo train RECIPE --field value …\n\n"
    )
    rows = [[name, *_described(build.__doc__ or "")] for name, build in RECIPES.items()]
    show_table(["recipe", "what it trains", "cost", "expect"], rows)


def _described(docstring: str) -> list[str]:
    """Return the first line of a recipe's docstring, its `Cost:` and its `Expect:`."""
    return [docstring.split("\n")[0], _entry(docstring, "Cost"), _entry(docstring, "Expect")]


def _entry(docstring: str, name: str) -> str:
    """Return what follows `name:` up to the next entry or empty line, as one line."""
    found = re.search(rf"^ *{name}: (.*?)(?=^ *\w+: |^ *$|\Z)", docstring, re.DOTALL | re.MULTILINE)
    return " ".join(found[1].split()) if found else ""
