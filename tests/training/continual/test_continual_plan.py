"""A plan names time steps and where their data are; a wrong one says what is wrong with it.

Run: pytest tests/training/continual/test_continual_plan.py
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from zoo.training.continual.plan import read_plan


def step(name: str = "2014", **changes: Any) -> dict[str, Any]:
    return {"name": name, "shards": "a", "validation": "b"} | changes


def written(folder: Path, **changes: Any) -> Path:
    path = folder / "plan.json"
    content = {"recipe": "tiny-continual", "steps": [step("2014"), step("2015")]}
    path.write_text(json.dumps(content | changes))
    return path


def test_paths_begin_at_the_plan_and_urls_stay(tmp_path: Path) -> None:
    steps = [step("2014", shards="s3://data/a.tar", sidecars="/sidecars"), step("2015")]
    plan = read_plan(written(tmp_path, steps=steps, class_names="names.txt"))
    assert plan.names == ("2014", "2015")
    assert plan.class_names == tmp_path / "names.txt"
    assert plan.steps[0].shards == "s3://data/a.tar"
    assert plan.steps[0].sidecars == "/sidecars"
    assert plan.steps[1].shards == str(tmp_path / "a")
    assert plan.steps[1].sidecars is None


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"steps": [step()]}, "has 1 time steps; name at least 2"),
        ({"steps": [step(), step()]}, "Two time steps are called '2014'"),
        ({"steps": [step(), step("20/15")]}, "'20/15' cannot name a folder"),
        ({"steps": [step(), {"name": "2015"}]}, r"Step 2 of the plan .* lacks 'shards'; add it"),
        ({"steps": [step(), step(shard="x")]}, r"unknown key 'shard'; it takes name, shards"),
        ({"steps": [step(), step(shards=3)]}, r"has shards = 3; give a text"),
        ({"steps": [step(), "2015"]}, r"Step 2 of the plan .* is not a JSON object"),
        ({"steps": "2014"}, r'plan.json\' has steps = "2014"; give a list'),
        ({"classes": "x"}, "unknown key 'classes'; it takes recipe, steps, class_names"),
    ],
)
def test_a_wrong_plan_says_what_is_wrong(
    changes: dict[str, Any], complaint: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=complaint):
        read_plan(written(tmp_path, **changes))


def test_a_plan_that_is_not_there_or_not_json_is_named(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    with pytest.raises(FileNotFoundError, match=r"There is no plan '.*plan\.json'"):
        read_plan(path)
    path.write_text("steps: []")
    with pytest.raises(ValueError, match=r"plan\.json' is not JSON"):
        read_plan(path)
