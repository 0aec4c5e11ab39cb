"""`zoo continual PLAN.json --method exp --folder RUN`."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import tyro

from zoo.commands.console import duration, heading, say, show_table, status
from zoo.eval.continual import TransferMatrix, evaluate_step, score_name, write_matrix_report
from zoo.eval.datasets import EvalDataset, read_tar_dataset
from zoo.eval.evaluate import evaluation_record
from zoo.eval.results import Record, append_result, result_record
from zoo.models.image_text_model import ImageTextModel
from zoo.models.load import load_image_text_model
from zoo.reinforced_data.sidecars.tensor_file import write_whole
from zoo.training.continual.plan import Plan, read_plan
from zoo.training.continual.replay import Method
from zoo.training.continual.run import ContinualRun, train_continually
from zoo.training.metrics.progress import Progress
from zoo.training.parallel.world import training_world
from zoo.training.recipes.recipe import Recipe
from zoo.training.recipes.registry import get_recipe

RESULTS = "results.jsonl"
"""In the folder of a run: every evaluation, then the three means."""
_USAGE = """\
usage: zoo continual PLAN.json --method METHOD --folder RUN --field value …

Trains on one time step after the other and evaluates the model of each step on the test set of
each. The plan names the recipe of one step; `zoo continual PLAN.json --help` shows its fields.
"""
_FIXED_BY_PLAN = ("data", "subset", "sidecars", "output")


@dataclass(frozen=True, kw_only=True)
class ContinualOptions:
    """The recipe of one time step, and what is done over time."""

    recipe: Annotated[Recipe, tyro.conf.arg(name="")]
    folder: Path
    """Where everything goes: a run folder a step, results.jsonl, report.html."""
    method: Method = "all"
    """What is replayed of the steps before: nothing, everything, an exponentially decaying buffer,
    one shared equally; or an oracle that begins from scratch on everything each time."""
    buffer: int | None = None
    """Samples that exp and equal may keep of all old steps together; by default as many as the
    first step has."""
    patching: float | None = None
    """Weight of the trained weights where they are averaged with those before the step."""
    resume: bool = False
    """Go on where a run in the same folder was stopped."""
    device: str = "cpu"
    """Where to train, e.g. cuda."""


def continual(arguments: list[str]) -> None:
    """Run the plan named first; the other arguments change its recipe's fields."""
    if not arguments or arguments[0].startswith("-"):
        sys.stdout.write(_USAGE)
        return
    plan = read_plan(Path(arguments[0]))
    recipe = get_recipe(plan.recipe)
    options = tyro.cli(
        ContinualOptions,
        prog=f"zoo continual {arguments[0]}",
        default=ContinualOptions(recipe=recipe, folder=tyro.MISSING),
        args=arguments[1:],
        config=(tyro.conf.AvoidSubcommands,),
    )
    for field in _FIXED_BY_PLAN:
        if getattr(options.recipe, field) != getattr(recipe, field):
            raise ValueError(f"The plan and --folder say where things are; leave out --{field}.")
    run_continual(plan, options)


def run_continual(plan: Plan, options: ContinualOptions) -> None:
    """Train and evaluate as `options` say, showing progress; write results and report."""
    run = ContinualRun(
        plan=plan,
        recipe=replace(options.recipe, output=options.folder),
        method=options.method,
        buffer=options.buffer,
        patching=options.patching,
    )
    tests, rows = _read_tests(plan), []
    with training_world(options.device) as world:

        def evaluate(number: int, weights: Path) -> None:
            if world.is_main:
                rows.append(_evaluated_row(run, number, weights, tests, world.device))

        train_continually(
            run,
            world=world,
            resume=options.resume,
            on_progress=lambda number, progress: _show_progress(run, number, progress),
            on_step=evaluate,
        )
        if world.is_main:
            _finish(run, TransferMatrix(plan.names, np.array(rows)))


def _read_tests(plan: Plan) -> list[EvalDataset]:
    """The test set of every step; all are scored alike."""
    tests = [read_tar_dataset(step.validation, class_names=plan.class_names) for step in plan.steps]
    for test in tests:
        if test.captions is None and (test.labels is None or plan.class_names is None):
            raise ValueError(
                f"'{test.name}' has no captions to retrieve, nor labels with names; give it "
                "captions, or name the classes as class_names in the plan."
            )
        if score_name(test) != score_name(tests[0]):
            raise ValueError(
                f"'{tests[0].name}' is scored by {score_name(tests[0])} but '{test.name}' by "
                f"{score_name(test)}; give labels to the test sets of all steps or of none."
            )
    return tests


def _evaluated_row(
    run: ContinualRun,
    number: int,
    weights: Path,
    tests: list[EvalDataset],
    device: torch.device,
) -> list[float]:
    """The scores of a step's model; those that an earlier run has written are read."""
    name = run.plan.names[number]
    path = run.folder / name / "scores.json"
    if path.exists():
        scores = json.loads(path.read_bytes())
    else:
        model = load_image_text_model(run.recipe.model, weights=weights, device=device)
        scores = _evaluate(run, name, model, tests)
        write_whole(path, [json.dumps(scores, indent=2).encode() + b"\n"])
    found = ", ".join(f"{test} {score:.1%}" for test, score in scores.items())
    say(f"after {name}: {found}")
    return list(scores.values())


def _evaluate(
    run: ContinualRun, name: str, model: ImageTextModel, tests: list[EvalDataset]
) -> dict[str, float]:
    scores, records = {}, []
    for step, test in zip(run.plan.names, tests, strict=True):
        status(f"evaluating the model after {name} on {step}")
        evaluation = evaluate_step(model, test)
        scores[step] = evaluation.metrics[score_name(test)]
        whose = f"{run.method} {name}"
        records.append(evaluation_record(model, test, evaluation, model_name=whose))
    for record in records:
        append_result(run.folder / RESULTS, record)
    return scores


def _show_progress(run: ContinualRun, number: int, progress: Progress) -> None:
    names = run.plan.names
    later = sum(run.budget(other) for other in range(number + 1, len(names)))
    left = progress.eta_seconds + later / progress.samples_per_second
    status(
        f"{names[number]} ({number + 1}/{len(names)}): step {progress.step}/{progress.steps}, "
        f"loss {progress.loss:.3f}, {progress.samples_per_second:.0f} samples a second, "
        f"{duration(left)} left"
    )


def _finish(run: ContinualRun, matrix: TransferMatrix) -> None:
    report = run.folder / "report.html"
    if not report.exists():  # else an earlier run has come to its end
        append_result(run.folder / RESULTS, _summary(run, matrix))
    heading(f"{run.method}: score of each step's model on each step's test")
    rows = zip(matrix.names, matrix.scores.tolist(), strict=True)
    cells = [[name, *(f"{score:.1%}" for score in row)] for name, row in rows]
    show_table(["model after", *matrix.names], cells)
    means = matrix.metrics().items()
    say(", ".join(f"{name.replace('_', ' ')} {value:.1%}" for name, value in means))
    title = f"{run.recipe.model} over time: {run.method}"
    say(f"wrote {write_matrix_report(report, matrix, title=title)}")


def _summary(run: ContinualRun, matrix: TransferMatrix) -> Record:
    metrics = matrix.metrics()
    return result_record(
        model=f"{run.recipe.model} {run.method}",
        dataset=" → ".join(matrix.names),
        protocol={
            "task": "continual",
            "method": run.method,
            "buffer": run.buffer,
            "patching": run.patching,
            "samples_per_step": run.recipe.samples_seen,
            "seed": run.recipe.seed,
        },
        metrics=metrics,
        units=dict.fromkeys(metrics, "fraction"),
    )
