"""The order of time: which shards arrive at each time step, and which ones test it.

A plan is a JSON file:

    {
      "recipe": "tiny-continual",
      "class_names": "classnames.txt",
      "steps": [
        {"name": "2014", "shards": "2014/train", "validation": "2014/test"},
        {"name": "2015", "shards": "2015/{00000..00009}.tar", "validation": "2015/test"}
      ]
    }

`recipe` is a name of `zoo train --list` and trains one step. `shards` are named as the recipe's
`data`, `validation` is a tar or a folder of tars. `class_names`, for test shards with labels, and a
step's `sidecars` may be left out. Paths begin at the folder of the plan.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zoo.reinforced_data.shards.find import is_url

_NAME = re.compile(r"[A-Za-z0-9_-]+")
_FEWEST_STEPS = 2


@dataclass(frozen=True, kw_only=True)
class TimeStep:
    """The data that arrive at one moment."""

    name: str
    """Names the step's run folder."""
    shards: str
    """Training shards, as `Recipe.data` takes them."""
    validation: str
    """Test shards of the same time: a tar or a folder of tars."""
    sidecars: str | None = None
    """Folder or URL of the sidecars, for reinforced training; None looks beside the shards."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Time steps, oldest first. Raises ValueError for fewer than two and for unfit names."""

    recipe: str
    """Name of the recipe of one step."""
    steps: tuple[TimeStep, ...]
    class_names: Path | None = None
    """Text file with the class names of labelled test shards; None tests retrieval."""

    def __post_init__(self) -> None:
        if len(self.steps) < _FEWEST_STEPS:
            raise ValueError(
                f"A plan has {len(self.steps)} time steps; name at least {_FEWEST_STEPS}."
            )
        for name in self.names:
            if not _NAME.fullmatch(name):
                raise ValueError(
                    f"The time step {name!r} cannot name a folder; use letters, digits, - and _."
                )
            if self.names.count(name) > 1:
                raise ValueError(f"Two time steps are called {name!r}; rename one.")

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the steps, oldest first."""
        return tuple(step.name for step in self.steps)


def read_plan(path: Path) -> Plan:
    """Read a plan.

    Raises FileNotFoundError without the file, and ValueError, naming file and key, where it is not
    a plan.
    """
    if not path.is_file():
        raise FileNotFoundError(f"There is no plan '{path}'; give a JSON file of time steps.")
    try:
        content = json.loads(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"The plan '{path}' is not JSON ({error}).") from error
    _check_keys(content, {"recipe": str, "steps": list}, {"class_names": str}, f"The plan '{path}'")
    steps = tuple(_read_step(path, number, item) for number, item in enumerate(content["steps"], 1))
    names = content.get("class_names")
    return Plan(
        recipe=content["recipe"],
        steps=steps,
        class_names=None if names is None else Path(_located(path, names)),
    )


def _read_step(path: Path, number: int, item: Any) -> TimeStep:
    required = {"name": str, "shards": str, "validation": str}
    _check_keys(item, required, {"sidecars": str}, f"Step {number} of the plan '{path}'")
    places = {key: _located(path, value) for key, value in item.items() if key != "name"}
    return TimeStep(name=item["name"], **places)


def _check_keys(
    content: Any, required: Mapping[str, type], optional: Mapping[str, type], what: str
) -> None:
    if not isinstance(content, dict):
        raise ValueError(f"{what} is not a JSON object with {', '.join(required)}.")
    known = {**required, **optional}
    for key, value in content.items():
        if key not in known:
            raise ValueError(f"{what} has the unknown key {key!r}; it takes {', '.join(known)}.")
        if not isinstance(value, known[key]):
            expected = "a list" if known[key] is list else "a text"
            raise ValueError(f"{what} has {key} = {json.dumps(value)}; give {expected}.")
    missing = [key for key in required if key not in content]
    if missing:
        raise ValueError(f"{what} lacks {missing[0]!r}; add it.")


def _located(plan: Path, place: str) -> str:
    """A path that begins at the plan's folder; URLs and whole paths stay."""
    folder = plan.absolute().parent
    return place if is_url(place) else os.path.join(folder, os.path.expanduser(place))
