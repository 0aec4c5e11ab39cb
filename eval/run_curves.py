"""Training runs drawn: every figure against samples seen, several runs over each other."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import permutations
from statistics import median
from typing import Any

import numpy as np

from zoo.eval.plots import Curve, curves, run_colours
from zoo.eval.report import Cell, FigureSection, Section, TableSection
from zoo.eval.report_sections import METRIC_LABELS
from zoo.eval.training_run import SAMPLES_SEEN, TrainingRun

EVALUATION = "eval."
"""What the names of an evaluation's figures begin with."""
_NOT_DRAWN = ("step", SAMPLES_SEEN, "elapsed_seconds")
# In this order, after the evaluations; other figures, such as logit_scale, follow the losses.
_LAST = ("learning_rate", "gradient_norm", "samples_per_second", "data_wait_fraction")
_LABELS = {
    "samples_per_second": "samples a second",
    "data_wait_fraction": "share of the time waiting for data",
    "peak_memory_bytes": "peak memory, bytes",
}
_MOST_POINTS = 1000  # of a curve; more would only make the page heavy


def run_sections(runs: Sequence[TrainingRun]) -> list[Section]:
    """Return a report's sections: a summary, every figure against samples seen, the recipes."""
    colours = run_colours(run.name for run in runs)
    sections: list[Section] = [_summary(runs)]
    if efficiency := _sample_efficiency(runs):
        sections.append(efficiency)
    sections += [_figure(runs, figure, colours) for figure in figures_of(runs)]
    sections += _recipe_tables(runs)
    if any(run.sessions for run in runs):
        sections.append(_sessions(runs))
    return sections


def figures_of(runs: Sequence[TrainingRun]) -> list[str]:
    """Return the names of the figures that are drawn, in the report's order."""
    found = dict.fromkeys(name for run in runs for line in run.lines for name in line)
    evaluations = [name for name in found if name.startswith(EVALUATION)]
    losses = [name for name in found if name == "loss" or name.endswith("_loss")]
    first = [*evaluations, *losses]
    others = [name for name in found if name not in (*first, *_LAST, *_NOT_DRAWN)]
    return [*first, *others, *(name for name in _LAST if name in found)]


def samples_to_reach(curve: Curve, value: float) -> float | None:
    """Return after how many samples a curve first has `value`, between two points on a line.

    None where it never has; the first point's samples where it begins above `value`.
    """
    before: tuple[float, float] | None = None
    for x, y in curve:
        if y >= value:
            if before is None:
                return x
            share = (value - before[1]) / (y - before[1])
            return before[0] + share * (x - before[0])
        before = (x, y)
    return None


def _label(figure: str) -> str:
    name = figure.removeprefix(EVALUATION)
    return METRIC_LABELS.get(name) or _LABELS.get(name) or name.replace("_", " ")


def _figure(runs: Sequence[TrainingRun], figure: str, colours: Mapping[str, str]) -> FigureSection:
    drawn = {run.name: _thinned(run.curve(figure)) for run in runs}
    drawn = {name: curve for name, curve in drawn.items() if curve}
    label = _label(figure)
    plot = curves(drawn, colours, x_label="samples seen", y_label=label)
    return FigureSection(heading=label[0].upper() + label[1:], figure=plot)


def _thinned(curve: Curve) -> Curve:
    """At most `_MOST_POINTS` points, each the mean of its neighbours."""
    if len(curve) <= _MOST_POINTS:
        return curve
    blocks = np.array_split(np.array(curve, dtype=float), _MOST_POINTS)
    return [(float(x), float(y)) for x, y in (block.mean(axis=0) for block in blocks)]


def _summary(runs: Sequence[TrainingRun]) -> TableSection:
    evaluations = [name for name in figures_of(runs) if name.startswith(EVALUATION)]
    rows = [
        [
            run.name,
            run.lines[-1]["step"],
            run.lines[-1][SAMPLES_SEEN],
            *(_last(run, name) for name in ("loss", *evaluations)),
            _median(run, "samples_per_second"),
            _median(run, "data_wait_fraction"),
        ]
        for run in runs
    ]
    columns = ["run", "steps", "samples seen", "loss", *map(_label, evaluations)]
    columns += ["samples a second", "waiting for data"]
    note = "The last value of each figure; the medians of the speed and of the share of the time."
    return TableSection(heading="Summary", columns=columns, rows=rows, note=note)


def _last(run: TrainingRun, figure: str) -> Cell:
    curve = run.curve(figure)
    return curve[-1][1] if curve else None


def _median(run: TrainingRun, figure: str) -> Cell:
    curve = run.curve(figure)
    return float(median(y for _, y in curve)) if curve else None


def _sample_efficiency(runs: Sequence[TrainingRun]) -> TableSection | None:
    """How many samples one run needs to reach what another ends with, for all pairs of runs."""
    evaluations = [figure for figure in figures_of(runs) if figure.startswith(EVALUATION)]
    rows = [row for figure in evaluations for row in _efficiency_rows(runs, figure)]
    if not rows:
        return None
    return TableSection(
        heading="Samples needed for the same figure",
        columns=["figure", "run", "ends with", "after samples", "is reached by", "after", "ratio"],
        rows=rows,
        note="Between two evaluations on a straight line; a dash where it is never reached. Where "
        "the first evaluation is better already the ratio is at least that.",
    )


def _efficiency_rows(runs: Sequence[TrainingRun], figure: str) -> Iterator[list[Cell]]:
    """Higher must be better, as it is for all figures of `zoo.eval.evaluate`."""
    having = [run for run in runs if run.curve(figure)]
    for reference, run in permutations(having, 2):
        samples, final = reference.curve(figure)[-1]
        needed = samples_to_reach(run.curve(figure), final)
        after = None if needed is None else round(needed)
        ratio = None if needed is None else samples / needed
        yield [_label(figure), reference.name, final, int(samples), run.name, after, ratio]


def _recipe_tables(runs: Sequence[TrainingRun]) -> list[TableSection]:
    """The recipes' fields: first those in which the runs differ."""
    known = [run for run in runs if run.recipe]
    fields = dict.fromkeys(field for run in known for field in run.recipe)
    rows = [[field, *(_text(run.recipe.get(field)) for run in known)] for field in fields]
    columns = ["field", *(run.name for run in known)]
    same = [row[:2] for row in rows if len(set(row[1:])) == 1]
    differing = [row for row in rows if len(set(row[1:])) > 1]
    tables: list[TableSection] = []
    if differing:
        heading = "Where the recipes differ"
        tables.append(TableSection(heading=heading, columns=columns, rows=differing))
    if same:
        heading = "Recipe" if not differing else "Where they are the same"
        tables.append(TableSection(heading=heading, columns=["field", "value"], rows=same))
    return tables


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _sessions(runs: Sequence[TrainingRun]) -> TableSection:
    names = ("time", "first_step", "command", "machine", "versions", "changed")
    rows = [
        [run.name, *(_text(session.get(name)) for name in names)]
        for run in runs
        for session in run.sessions
    ]
    columns = ["run", "time (UTC)", "from step", *names[2:]]
    return TableSection(heading="How the runs were made", columns=columns, rows=rows)
