"""What `zoo bench merging` trains: two teachers, and what is merged of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from zoo.commands.console import heading
from zoo.commands.demo_stages import train_once
from zoo.commands.merging_data import (
    CAPTIONED,
    CLIP,
    MASKS,
    MODEL,
    PICTURES,
    SAM_ANSWERS,
    SAM_DATA,
    TRUTH,
    MergingData,
    MergingFolder,
)
from zoo.commands.reinforce import reinforce
from zoo.commands.reinforce_masks import reinforce_with_masks
from zoo.commands.train import TrainOptions
from zoo.training.recipes.recipe import Recipe
from zoo.training.recipes.registry import get_recipe
from zoo.training.sam_clip.settings import SamClip

SAM_RUN, CLIP_RUN = "sam", "clip"
_PROMPTS = 9
"""Stored of each picture, of all three kinds."""


@dataclass(frozen=True, kw_only=True)
class Merging:
    """A run that makes a merged model."""

    name: str
    stage: str
    """Whose recipe it has."""
    after: str | None = None
    """The run whose weights it begins with; None begins with the teachers'."""
    mask_weight: float | None = None
    """λ; None for the recipe's."""


STAGE_RUNS = (
    Merging(name="stage-1", stage="1"),
    Merging(name="stage-2", stage="2", after="stage-1"),
    Merging(name="stage-3", stage="3", after="stage-2"),
)
LAST_STAGE = STAGE_RUNS[-1].name
ABLATIONS = (
    Merging(name="without-stage-1", stage="2"),
    Merging(name="without-stage-2", stage="3", after="stage-1"),
    Merging(name="lambda-1", stage="2", after="stage-1", mask_weight=1.0),
    Merging(name="lambda-100", stage="2", after="stage-1", mask_weight=100.0),
)
"""Beside them, stage-2 is the one without stage 3."""


def train_teachers(paths: MergingFolder, data: MergingData) -> None:
    """A CLIP on captions and a SAM on the pictures' own masks."""
    heading(f"training the CLIP teacher, {CLIP}")
    recipe = replace(get_recipe("tiny-teacher"), augmentation=data.teacher_policy)
    recipe = replace(recipe, data=str(paths.data(CAPTIONED)))
    _train(paths, CLIP_RUN, recipe, data.teacher_share)
    heading(f"training the SAM teacher, {MODEL}")
    _reinforce_masks(paths, SAM_DATA, f"truth:{MODEL}")
    recipe = replace(get_recipe(f"{MODEL}-sam"), data=str(paths.data(SAM_DATA)))
    _train(paths, SAM_RUN, recipe, data.teacher_share)


def ask_teachers(paths: MergingFolder, data: MergingData) -> None:
    """Store what the teachers say of the merged model's pictures, and of those that test it."""
    heading("asking the CLIP teacher")
    reinforce(
        str(paths.data(PICTURES)),
        teacher=(f"clip=zoo:{CLIP}@{paths.weights(CLIP_RUN)}",),
        captioner="none",
        augmentations=data.augmentations,
        policy=data.policy,
    )
    heading("asking the SAM teacher")
    sam = f"sam:{MODEL}@{paths.weights(SAM_RUN)}"
    _reinforce_masks(paths, MASKS, sam)
    _reinforce_masks(paths, SAM_ANSWERS, sam)
    _reinforce_masks(paths, TRUTH, f"truth:{MODEL}")


def merge(paths: MergingFolder, data: MergingData, run: Merging, seed: int) -> None:
    """Train one of the merged models."""
    name = run_name(run.name, seed)
    heading(f"merging: {name}")
    recipe = get_recipe(f"{MODEL}-stage{run.stage}")
    assert recipe.sam_clip is not None
    settings = _settings(paths, recipe.sam_clip, run)
    init = None if run.after is None else paths.weights(run_name(run.after, seed))
    recipe = replace(recipe, data=str(paths.data(PICTURES)), init=init)
    recipe = replace(recipe, sam_clip=settings, seed=seed)
    _train(paths, name, recipe, data.merging_share)


def run_name(run: str, seed: int) -> str:
    """Return the name of a merged model's run: every seed has its own."""
    return f"{run}-seed-{seed}" if seed else run


def _settings(paths: MergingFolder, settings: SamClip, run: Merging) -> SamClip:
    if run.after is None:
        text = f"zoo:{CLIP}@{paths.weights(CLIP_RUN)}"
        settings = replace(settings, sam=paths.weights(SAM_RUN), text=text)
    if settings.mask_data is not None:
        settings = replace(settings, mask_data=str(paths.data(MASKS)))
    if run.mask_weight is not None:
        settings = replace(settings, mask_weight=run.mask_weight)
    return settings


def _train(paths: MergingFolder, run: str, recipe: Recipe, share: float) -> None:
    batch = recipe.batch_size
    warmup_steps = math.floor(share * recipe.warmup_samples / batch)
    adapted = replace(
        recipe,
        output=paths.run(run),
        samples_seen=max(batch, round(share * recipe.samples_seen)),
        warmup_samples=warmup_steps * batch,
    )
    train_once(TrainOptions(recipe=adapted))


def _reinforce_masks(paths: MergingFolder, shards: str, teacher: str) -> None:
    reinforce_with_masks(
        str(paths.data(shards)), teacher=teacher, masks_per_picture=_PROMPTS, device="cpu"
    )


def all_runs(*, ablations: bool) -> Sequence[Merging]:
    """Return the runs in an order in which each finds the weights that it begins with."""
    return (*STAGE_RUNS, *ABLATIONS) if ablations else STAGE_RUNS
