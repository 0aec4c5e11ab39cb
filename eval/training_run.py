"""A training run as its folder tells it: metrics.jsonl and recipe.json."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zoo.eval.plots import Curve

Line = Mapping[str, Any]

SAMPLES_SEEN = "samples_seen"


@dataclass(frozen=True, kw_only=True)
class TrainingRun:
    """What a run folder tells."""

    name: str
    lines: Sequence[Line]
    """Of metrics.jsonl, at least one, steps ascending."""
    recipe: Mapping[str, Any]
    """The recipe's fields; empty where there is no recipe.json."""
    sessions: Sequence[Mapping[str, Any]]
    """Who began and resumed the run, where and how; empty where there is no recipe.json."""

    def curve(self, figure: str) -> Curve:
        """Return (samples seen, value) of every line that has `figure`, finite ones only."""
        points = [(line[SAMPLES_SEEN], line[figure]) for line in self.lines if figure in line]
        return [(x, y) for x, y in points if math.isfinite(y)]


def read_runs(folders: Sequence[Path]) -> list[TrainingRun]:
    """Read run folders, also of runs that go on: a torn last line is left out.

    Raises FileNotFoundError for a folder without metrics.jsonl, and ValueError for one without a
    logged step or with a line that is not one of a run.
    """
    by_name = len({folder.name for folder in folders}) == len(folders)
    return [_read_run(folder, folder.name if by_name else str(folder)) for folder in folders]


def _read_run(folder: Path, name: str) -> TrainingRun:
    path = folder / "metrics.jsonl"
    if not path.is_file():
        raise FileNotFoundError(
            f"'{folder}' is not the folder of a training run: it has no metrics.jsonl; "
            "give the `output` of a recipe."
        )
    # What follows the last line end is a line that is being written, or that a kill has torn.
    texts = path.read_text(encoding="utf-8", errors="replace").split("\n")[:-1]
    if not texts:
        raise ValueError(f"'{path}' has no logged step yet; report the run when it has made some.")
    lines = [_line(text, path, number) for number, text in enumerate(texts, 1)]
    recipe, sessions = _read_recipe(folder / "recipe.json")
    return TrainingRun(name=name, lines=lines, recipe=recipe, sessions=sessions)


def _line(text: str, path: Path, number: int) -> Line:
    try:
        line = json.loads(text)
        if all(isinstance(line[name], int) for name in ("step", SAMPLES_SEEN)):
            return {name: value for name, value in line.items() if isinstance(value, int | float)}
    except (ValueError, TypeError, KeyError, AttributeError):
        pass
    raise ValueError(
        f"'{path}', line {number} is not a step of a run ({text[:40]!r}); remove that line."
    )


def _read_recipe(path: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    if not path.is_file():
        return {}, []
    try:
        description = json.loads(path.read_text(encoding="utf-8"))
        return dict(description["recipe"]), [dict(one) for one in description["sessions"]]
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(
            f"'{path}' does not describe a run; delete it to report without it."
        ) from error
