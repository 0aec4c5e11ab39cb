"""The average over 38 tasks reproduces the published table from the published results.

.venv/bin/pytest tests/eval/test_datacomp.py

`published_main_metrics.json` holds the keys and main metrics of `results/*.jsonl` of
apple/ml-mobileclip; the averages below are those of the table in its README.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from zoo.eval.datacomp import published_average

FIXTURE = Path(__file__).parent.parent / "fixtures" / "published_main_metrics.json"
PUBLISHED = {
    "mobileclip_s0": 58.1,
    "mobileclip_s1": 61.3,
    "mobileclip_s2": 63.7,
    "mobileclip_b": 65.2,
    "mobileclip_b_lt": 65.8,
    "mobileclip_s3": 66.3,
    "mobileclip_l14": 66.9,
    "mobileclip_s4": 68.1,
    "mobileclip2_s0": 59.7,
    "mobileclip2_s2": 64.1,
    "mobileclip2_b": 65.8,
    "mobileclip2_s3": 66.8,
    "mobileclip2_l14": 67.8,
    "mobileclip2_s4": 67.5,
}


def records(model: str) -> list[dict[str, Any]]:
    scores = json.loads(FIXTURE.read_text())[model]
    return [{"key": key, "metrics": {"main_metric": score}} for key, score in scores.items()]


@pytest.mark.parametrize("model", PUBLISHED)
def test_the_average_is_the_published_one(model: str) -> None:
    # 61.25, 63.66, 65.15, ... are printed with one decimal, by truncation or rounding.
    assert 100 * published_average(records(model)) == pytest.approx(PUBLISHED[model], abs=0.1)


def test_an_average_over_fewer_tasks_is_refused() -> None:
    fewer = [record for record in records("mobileclip2_s0") if record["key"] != "imagenet1k"]
    with pytest.raises(ValueError, match="38 tasks, but 37"):
        published_average(fewer)


def test_a_task_that_comes_twice_is_refused() -> None:
    given = records("mobileclip2_s0")
    twice = [*given, *(record for record in given if record["key"] == "imagenet1k")]
    with pytest.raises(ValueError, match="imagenet1k comes twice"):
        published_average(twice)


def test_a_task_without_main_metric_is_named() -> None:
    given = records("mobileclip_s0")
    given[0] = {"key": given[0]["key"], "metrics": {}}
    with pytest.raises(ValueError, match=f"{given[0]['key']} has no main_metric"):
        published_average(given)
