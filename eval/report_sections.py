"""Sections of a report from result records and training logs, and from nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from zoo.eval.plots import bars, curves
from zoo.eval.report import Cell, FigureSection, TableSection
from zoo.eval.results import Record, read_results

METRIC_LABELS = {
    "acc1": "top-1 accuracy",
    "acc5": "top-5 accuracy",
    "mean_per_class_recall": "mean per-class recall",
    "image_retrieval_recall@1": "text → image R@1",
    "image_retrieval_recall@5": "text → image R@5",
    "image_retrieval_recall@10": "text → image R@10",
    "text_retrieval_recall@1": "image → text R@1",
    "text_retrieval_recall@5": "image → text R@5",
    "text_retrieval_recall@10": "image → text R@10",
    "mean_recall@1": "mean R@1",
    "p50_ms": "p50",
    "p90_ms": "p90",
    "cpu_p50_ms": "CPU p50",
    "cpu_p90_ms": "CPU p90",
    "activation_bytes": "activations",
    "macs": "MACs",
}
# Unit in a record -> (unit on the page, factor).
_SHOWN_UNITS = {
    "fraction": ("%", 100.0),
    "bytes": ("MB", 1e-6),
    "multiply-adds": ("G", 1e-9),
    "count": ("", 1),
}


def curve_section(
    logs: Mapping[str, str | Path],
    colours: Mapping[str, str],
    *,
    heading: str,
    y: str = "loss",
    x: str = "samples_seen",
    caption: str = "",
) -> FigureSection:
    """One line a run from the runs' `metrics.jsonl`; `logs` maps run names to these files.

    Raises:
        FileNotFoundError: a log does not exist.
        ValueError: a log holds no line with both `x` and `y`.
    """
    runs = {run: _points(path, x, y) for run, path in logs.items()}
    labels = {"x_label": x.replace("_", " "), "y_label": y.replace("_", " ")}
    return FigureSection(heading=heading, figure=curves(runs, colours, **labels), caption=caption)


def comparison_section(
    records: Sequence[Record],
    colours: Mapping[str, str],
    *,
    heading: str,
    metrics: Sequence[str],
    caption: str = "",
) -> FigureSection:
    """Bars of some metrics in per cent, model by model; several records of a model are its seeds.

    Raises:
        ValueError: no record has one of the metrics, or one is not a fraction.
    """
    groups: dict[str, dict[str, list[float]]] = {}
    for metric in metrics:
        runs = groups.setdefault(METRIC_LABELS.get(metric, metric), {})
        for record in records:
            if metric in record["metrics"]:
                runs.setdefault(record["model"], []).append(_percentage(record, metric))
        if not runs:
            raise ValueError(f"No result has the metric {metric!r}: check the names or the file.")
    figure = bars(groups, colours, y_label="per cent")
    return FigureSection(heading=heading, figure=figure, caption=caption)


def results_table(
    records: Sequence[Record],
    *,
    heading: str = "",
    columns: Sequence[str] = ("model", "dataset"),
    metrics: Sequence[str] | None = None,
    note: str = "",
) -> TableSection:
    """One row a record: `columns`, then metrics.

    A column is a field of the record or of its protocol. `metrics` chooses and orders the metrics;
    by default every one that a record has. Fractions are shown as per cent, bytes as MB,
    multiply-adds as G.
    """
    if metrics is None:
        metrics = list(dict.fromkeys(name for record in records for name in record["metrics"]))
    units = {name: unit for record in records for name, unit in record["units"].items()}
    rows = [
        [_field(record, name) for name in columns]
        + [_shown(record["metrics"].get(name), units.get(name, "")) for name in metrics]
        for record in records
    ]
    names = [name.replace("_", " ") for name in columns]
    names += [_column(name, units.get(name, "")) for name in metrics]
    return TableSection(heading=heading, columns=names, rows=rows, note=note)


def provenance_section(
    records: Sequence[Record], *, heading: str = "How this was made"
) -> TableSection:
    """The commands that gave the records, each with time, machine and versions."""
    rows: dict[tuple[str, ...], str] = {}
    for record in records:
        machine, versions = record["machine"], record["versions"]
        processor = machine["gpu"] or f"{machine['cpu']}, {machine['cores']} cores"
        packages = ", ".join(f"{name} {version}" for name, version in versions.items())
        rows.setdefault((processor, packages, record["command"]), record["time"])
    return TableSection(
        heading=heading,
        columns=["time (UTC)", "machine", "versions", "command"],
        rows=[[time[:16].replace("T", " "), *row] for row, time in rows.items()],
    )


def _points(path: str | Path, x: str, y: str) -> list[tuple[float, float]]:
    lines = read_results(path)
    points = [(line[x], line[y]) for line in lines if x in line and y in line]
    if not points:
        raise ValueError(f"{path} has no line with {x!r} and {y!r}: is it a training log?")
    return points


def _percentage(record: Record, metric: str) -> float:
    unit = record["units"][metric]
    if unit != "fraction":
        raise ValueError(f"The metric {metric!r} is in {unit!r}, not a fraction: it has no bar.")
    return 100 * record["metrics"][metric]


def _column(name: str, unit: str) -> str:
    label = METRIC_LABELS.get(name, name.replace("_", " "))
    shown = _SHOWN_UNITS.get(unit, (unit, 1.0))[0]
    return f"{label} ({shown})" if shown else label


def _shown(value: float | None, unit: str) -> Cell:
    return None if value is None else value * _SHOWN_UNITS.get(unit, (unit, 1))[1]


def _field(record: Record, name: str) -> Cell:
    value: Any = record["protocol"].get(name, record.get(name))
    if value is None or isinstance(value, int | float | str):
        return value
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
