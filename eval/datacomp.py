"""The average over the 38 DataComp tasks, as MobileCLIP's table of results prints it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

# In the published files but not among the 38: SugarCrepe, long texts, and the two fairness sets
# for which DataComp's own aggregation has no main metric.
_OUTSIDE_PREFIXES = ("comp/", "longclip/")
_OUTSIDE_KEYS = frozenset({"fairness/fairface", "fairness/utkface"})
TASKS = 38


def published_average(records: Iterable[Mapping[str, Any]]) -> float:
    """Mean `main_metric` (0..1) over the 38 tasks of DataComp (its `aggregate_scores.py`).

    Each record has a `key` and `metrics.main_metric`, as in the `results/*.jsonl` of
    apple/ml-mobileclip. Records of `comp/*`, `longclip/*`, `fairness/fairface` and
    `fairness/utkface` do not count.

    Raises:
        ValueError: a task has no main metric or comes twice, or there are not 38 of them (a mean
            over fewer tasks is another figure).
    """
    scores: dict[str, float] = {}
    for record in records:
        key = record["key"]
        if key in _OUTSIDE_KEYS or key.startswith(_OUTSIDE_PREFIXES):
            continue
        if key in scores:
            raise ValueError(f"The task {key} comes twice: keep one record of it.")
        scores[key] = _main_metric(record)
    if len(scores) != TASKS:
        raise ValueError(f"The average is over {TASKS} tasks, but {len(scores)} were given.")
    return sum(scores.values()) / TASKS


def _main_metric(record: Mapping[str, Any]) -> float:
    value = record["metrics"].get("main_metric")
    if value is None:
        raise ValueError(f"The task {record['key']} has no main_metric: evaluate it again.")
    return float(value)
