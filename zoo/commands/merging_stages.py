"""What `zoo bench merging` writes and trains: scenes, two teachers, and what is merged of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from zoo.commands.console import heading
from zoo.commands.demo_stages import train_once, write_once
from zoo.commands.reinforce import reinforce
from zoo.commands.reinforce_masks import reinforce_with_masks
from zoo.commands.tiny_world import tiny_world
from zoo.commands.train import TrainOptions
from zoo.models.card import SamClipCard
from zoo.models.registry import get_card_of
from zoo.training.recipes.recipe import Recipe
from zoo.training.recipes.registry import get_recipe
from zoo.training.sam_clip.settings import SamClip

MODEL = "sam-clip-tiny"
CLIP = "mobileclip-tiny"
SAM_RUN, CLIP_RUN = "sam", "clip"
TRUTH, SAM_ANSWERS = "test-truth", "test-sam"
"""Shards of the same test scenes, by whose masks their sidecars hold."""
_AUGMENTATIONS = 2
_PROMPTS = 9
"""Stored of each scene, of all three kinds."""


@dataclass(frozen=True, kw_only=True)
class Budget:
    """How much there is of everything."""

    captioned: int = 12_000
    """Scenes with captions, of the CLIP teacher."""
    pictures: int = 6_000
    """Scenes without, that the merged model gets embeddings of."""
    sam: int = 3_000
    """Scenes with masks, of the SAM teacher."""
    masks: int = 1_000
    """Scenes that the merged model gets the SAM teacher's masks of."""
    test: int = 4_000
    """Scenes whose class is asked for."""
    test_masks: int = 150
    """Scenes whose masks and classes of pixels are asked for."""
    share: float = 1.0
    """Of the samples that the recipes see."""


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


@dataclass(frozen=True)
class MergingFolder:
    """Where the stages put things."""

    root: Path

    def data(self, name: str) -> Path:
        """Shards: captioned, pictures, sam, masks, test, TRUTH or SAM_ANSWERS."""
        return self.root / "data" / name

    def run(self, name: str) -> Path:
        """Folder of a training run."""
        return self.root / "runs" / name

    def weights(self, run: str) -> Path:
        """Weights that a finished training run leaves."""
        return self.run(run) / "weights.safetensors"


def write_scenes(paths: MergingFolder, budget: Budget) -> None:
    """Write all shards; no two of them share a scene, all show every combination.

    Classes are asked of scenes with one object, masks of up to three.
    """
    heading("writing the tiny world")
    card = get_card_of(SamClipCard, MODEL)
    world = partial(tiny_world, split="all", image_size=card.mask_image_size)
    single = partial(world, max_objects=1)
    write_once(
        paths.data("captioned"),
        partial(single, scenes=budget.captioned, seed=1, image_size=card.image_size),
    )
    write_once(paths.data("pictures"), partial(single, scenes=budget.pictures, seed=2))
    write_once(paths.data("test"), partial(single, scenes=budget.test, seed=3))
    write_once(paths.data("sam"), partial(world, scenes=budget.sam, seed=4))
    write_once(paths.data("masks"), partial(world, scenes=budget.masks, seed=5))
    for name in (TRUTH, SAM_ANSWERS):
        write_once(paths.data(name), partial(world, scenes=budget.test_masks, seed=6))


def train_teachers(paths: MergingFolder, budget: Budget) -> None:
    """A CLIP on captions and a SAM on the scenes' own masks."""
    heading(f"training the CLIP teacher, {CLIP}")
    recipe = get_recipe("tiny-teacher")
    _train(paths, budget, CLIP_RUN, replace(recipe, data=str(paths.data("captioned"))))
    heading(f"training the SAM teacher, {MODEL}")
    _reinforce_masks(paths.data("sam"), f"truth:{MODEL}")
    recipe = get_recipe(f"{MODEL}-sam")
    _train(paths, budget, SAM_RUN, replace(recipe, data=str(paths.data("sam"))))


def ask_teachers(paths: MergingFolder) -> None:
    """Store what the teachers say of the merged model's scenes, and of those that test it."""
    heading("asking the CLIP teacher")
    reinforce(
        str(paths.data("pictures")),
        teacher=(f"clip=zoo:{CLIP}@{paths.weights(CLIP_RUN)}",),
        captioner="none",
        augmentations=_AUGMENTATIONS,
        policy=get_recipe("tiny-teacher").augmentation,
    )
    heading("asking the SAM teacher")
    sam = f"sam:{MODEL}@{paths.weights(SAM_RUN)}"
    _reinforce_masks(paths.data("masks"), sam)
    _reinforce_masks(paths.data(SAM_ANSWERS), sam)
    _reinforce_masks(paths.data(TRUTH), f"truth:{MODEL}")


def merge(paths: MergingFolder, budget: Budget, run: Merging, seed: int) -> None:
    """Train one of the merged models."""
    name = run_name(run.name, seed)
    heading(f"merging: {name}")
    recipe = get_recipe(f"{MODEL}-stage{run.stage}")
    assert recipe.sam_clip is not None
    settings = _settings(paths, recipe.sam_clip, run)
    init = None if run.after is None else paths.weights(run_name(run.after, seed))
    data = str(paths.data("pictures"))
    recipe = replace(recipe, data=data, init=init, sam_clip=settings, seed=seed)
    _train(paths, budget, name, recipe)


def run_name(run: str, seed: int) -> str:
    """Return the name of a merged model's run: every seed has its own."""
    return f"{run}-seed-{seed}" if seed else run


def _settings(paths: MergingFolder, settings: SamClip, run: Merging) -> SamClip:
    if run.after is None:
        text = f"zoo:{CLIP}@{paths.weights(CLIP_RUN)}"
        settings = replace(settings, sam=paths.weights(SAM_RUN), text=text)
    if settings.mask_data is not None:
        settings = replace(settings, mask_data=str(paths.data("masks")))
    if run.mask_weight is not None:
        settings = replace(settings, mask_weight=run.mask_weight)
    return settings


def _train(paths: MergingFolder, budget: Budget, run: str, recipe: Recipe) -> None:
    batch = recipe.batch_size
    warmup_steps = math.floor(budget.share * recipe.warmup_samples / batch)
    shortened = replace(
        recipe,
        output=paths.run(run),
        samples_seen=max(batch, round(budget.share * recipe.samples_seen)),
        warmup_samples=warmup_steps * batch,
    )
    train_once(TrainOptions(recipe=shortened))


def _reinforce_masks(shards: Path, teacher: str) -> None:
    reinforce_with_masks(str(shards), teacher=teacher, masks_per_picture=_PROMPTS, device="cpu")


def all_runs(*, ablations: bool) -> Sequence[Merging]:
    """Return the runs in an order in which each finds the weights that it begins with."""
    return (*STAGE_RUNS, *ABLATIONS) if ablations else STAGE_RUNS
