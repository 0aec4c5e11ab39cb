"""Training over time: one run of the loop a step, each from the weights of the step before it.

In the folder of a continual run:

    continual.json               what was asked for; a run that resumes must ask for the same
    STEP/                        run folder of the training loop, one a time step
    STEP/OLD.subset.safetensors  which samples of an old step were replayed, where not all
    STEP/patched.safetensors     with patching: weights between those before and after the step
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, get_args

from zoo.reinforced_data.shards.remote import find_locations
from zoo.training.checkpoints.claim import claim_folder
from zoo.training.checkpoints.same_recipe import FREE_FIELDS, recipe_record
from zoo.training.continual.plan import Plan
from zoo.training.continual.replay import Method, training_sources
from zoo.training.fine_tuning.interpolate import interpolate_weights
from zoo.training.loop import train
from zoo.training.metrics.progress import Progress
from zoo.training.parallel.world import World
from zoo.training.recipes.recipe import Recipe
from zoo.training.run import build_loader, build_model

LATER_WARMUP = 0.2
"""Warm-up of the later steps as a share of the first one's: 2,000 iterations after 10,000 in
TiC-CLIP (apple/ml-tic-clip, params/)."""

_DATA_FIELDS = ("data", "subset", "sidecars")


@dataclass(frozen=True, kw_only=True)
class ContinualRun:
    """Everything that decides a continual run. Raises ValueError for values that cannot work."""

    plan: Plan
    """The time steps."""
    recipe: Recipe
    """Trains one step, with the whole of its budget and its schedule; `output` is the folder of the
    continual run and `init` what the first step starts from. Its data fields give way to the
    plan's."""
    method: Method = "all"
    """What is replayed of the steps before."""
    buffer: int | None = None
    """Samples that `exp` and `equal` may keep of all old steps together; None keeps as many as the
    first step has."""
    patching: float | None = None
    """Weight α of the trained weights in the ones that a later step leaves, (1-α)·before + α·after
    (PAINT, arXiv 2208.05592); None leaves the trained ones."""

    def __post_init__(self) -> None:
        if self.method not in get_args(Method):
            choices = ", ".join(get_args(Method))
            raise ValueError(f"The method is {self.method!r}; give one of {choices}.")
        if self.buffer is not None and not (self.buffer >= 1 and self.method in ("exp", "equal")):
            raise ValueError(
                f"The buffer is {self.buffer} with the method {self.method}; give 1 or more, and "
                "only with exp or equal."
            )
        if self.patching is not None and not 0 < self.patching < 1:
            raise ValueError(f"patching is {self.patching}; give a number between 0 and 1.")
        if self.patching is not None and self.method == "oracle":
            raise ValueError("The oracle trains from scratch: leave out patching.")

    @property
    def folder(self) -> Path:
        """Where everything goes."""
        return self.recipe.output

    def budget(self, number: int) -> int:
        """Samples seen in step `number`: the same in each, however much is replayed.

        Only the oracle's grows with its data: it spends at step t what the others have until then.
        """
        return self.recipe.samples_seen * (number + 1 if self.method == "oracle" else 1)

    def step_recipe(self, number: int, init: str | Path | None) -> Recipe:
        """Return the recipe of step `number`, from 0, which starts from the weights `init`.

        The schedule begins anew at every step, with a shorter warm-up after the first.
        """
        step, fresh = self.plan.steps[number], number == 0 or self.method == "oracle"
        warmup = self.recipe.warmup_samples
        return replace(
            self.recipe,
            data=step.shards,
            subset=None,
            sidecars=step.sidecars,
            output=self.folder / step.name,
            init=init,
            samples_seen=self.budget(number),
            warmup_samples=warmup if fresh else math.ceil(warmup * LATER_WARMUP),
            seed=self.recipe.seed + number,  # replayed samples come with other augmentations
        )


def train_continually(
    run: ContinualRun,
    *,
    world: World,
    resume: bool = False,
    on_progress: Callable[[int, Progress], None] | None = None,
    on_step: Callable[[int, Path], None] | None = None,
) -> list[Path]:
    """Train on every time step in turn and return the weights that each of them leaves.

    Args:
        run: the steps and how they are trained.
        world: the processes that train together.
        resume: go on where a run in the same folder was stopped or killed: finished steps are
            kept, and the one in work continues from its latest checkpoint.
        on_progress: called with the number of the step, from 0, at every line of its log.
        on_step: called with its number and weights when a step is finished, kept ones too.

    Raises ValueError when the folder holds another run, or this one without `resume`, and whatever
    the training loop and the loader raise.
    """
    for step in run.plan.steps:
        find_locations(step.shards)  # a missing one is better known now than after days
    _open_folder(run, resume, world)
    weights: list[Path] = []
    for number in range(len(run.plan.steps)):
        before = weights[-1] if weights else None
        weights.append(_train_step(run, number, before, world, on_progress))
        if on_step:
            on_step(number, weights[-1])
    return weights


def _train_step(
    run: ContinualRun,
    number: int,
    before: Path | None,
    world: World,
    on_progress: Callable[[int, Progress], None] | None,
) -> Path:
    start = run.recipe.init if before is None or run.method == "oracle" else before
    recipe = run.step_recipe(number, start)
    trained, patched = (recipe.output / f"{name}.safetensors" for name in ("weights", "patched"))
    if not trained.exists():
        _train(run, number, recipe, world, on_progress)
    if run.patching is None or before is None:
        return trained
    if world.is_main and not patched.exists():
        interpolate_weights(before, trained, run.patching, patched)
    world.wait()
    return patched


def _train(
    run: ContinualRun,
    number: int,
    recipe: Recipe,
    world: World,
    on_progress: Callable[[int, Progress], None] | None,
) -> None:
    model = build_model(recipe, world.device)
    if not world.is_main:
        world.wait()  # the main process writes the subsets
    # The run's own seed decides what a buffer keeps: a step's would keep others each time.
    sources = training_sources(
        run.recipe,
        run.plan.steps[: number + 1],
        method=run.method,
        buffer=run.buffer,
        folder=recipe.output,
    )
    if world.is_main:
        world.wait()
    train(
        recipe,
        model=model,
        loader=build_loader(recipe, model, world, sources=sources),
        world=world,
        resume=True,
        on_progress=on_progress and (lambda progress: on_progress(number, progress)),
    )
    world.wait()


def _open_folder(run: ContinualRun, resume: bool, world: World) -> None:
    """Start in a fresh folder, or make sure that the run in it is this one."""
    note = run.folder / "continual.json"
    if world.is_main:
        if note.exists() and not resume:
            raise ValueError(
                f"'{run.folder}' already holds a continual run; resume it (--resume), delete the "
                "folder or choose another."
            )
        claim_folder(note, _description(run))
    world.wait()


def _description(run: ContinualRun) -> dict[str, Any]:
    """What a run that resumes may not change."""
    left_out = {*FREE_FIELDS, *_DATA_FIELDS}
    fields = recipe_record(run.recipe).items()
    return {
        "method": run.method,
        "buffer": run.buffer,
        "patching": run.patching,
        "steps": [asdict(step) for step in run.plan.steps],
        **{name: value for name, value in fields if name not in left_out},
    }
