"""`zoo bench curation`."""

from __future__ import annotations

import tempfile
from dataclasses import asdict
from pathlib import Path

from zoo.commands.bench import RESULTS
from zoo.commands.console import say, show_table, status
from zoo.eval.results import append_result, result_record
from zoo.reinforced_data.benchmarks.curation import (
    DIMENSION,
    CurationRow,
    compare_with_direct,
    make_sidecars,
    measure,
)

_QUICK_SAMPLES = 50_000
_UNITS = {
    "seconds": "s",
    "cpu_seconds": "s",
    "peak_bytes": "bytes",
    "recall": "fraction",
    "precision": "fraction",
    "kept": "samples",
}
_CLUSTER = 1_000
_BIG_CLUSTER = 8_000
_ROUNDS = 5


def curation(
    *,
    samples: int = 1_000_000,
    folder: Path | None = None,
    quick: bool = False,
    results: Path = RESULTS,
) -> None:
    """Deduplicate and prune made embeddings of 512 numbers, a fifth of them planted twins.

    Comparing inside a cluster is timed beside SemDeDup's own formula in torch.

    Args:
        samples: embeddings; a million take 2.1 GB of disk.
        folder: on the disk to work on, by default the system's for temporary files.
        quick: 50,000 embeddings.
        results: file that the JSON lines are appended to.
    """
    samples = _QUICK_SAMPLES if quick else samples
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        status(f"making {samples:,} embeddings")
        make_sidecars(Path(temporary), samples)
        rows = []
        for task in ("dedup", "prune"):
            status(f"{task} of {samples:,} embeddings")
            rows.append(measure(task, Path(temporary)))
    for row in rows:
        _append(results, row)
    show_table(_COLUMNS, [_cells(row) for row in rows])
    for size in (_CLUSTER, _BIG_CLUSTER):
        ours, direct = compare_with_direct(size, _ROUNDS)
        _append_comparison(results, size, ours, direct)
        say(
            f"comparing inside a cluster of {size:,}: {ours * 1e3:.1f} ms, "
            f"SemDeDup's formula in torch {direct * 1e3:.1f} ms ({direct / ours:.2f}×)"
        )


_COLUMNS = ("task", "samples", "kept", "seconds", "CPU s", "peak MB", "recall", "precision")


def _cells(row: CurationRow) -> list[str]:
    return [
        row.task,
        f"{row.samples:,}",
        f"{row.kept:,}",
        f"{row.seconds:.1f}",
        f"{row.cpu_seconds:.1f}",
        f"{row.peak_bytes / 1e6:,.0f}",
        *("–" if share is None else f"{share:.2%}" for share in (row.recall, row.precision)),
    ]


def _append(results: Path, row: CurationRow) -> None:
    values = asdict(row)
    metrics = {name: values[name] for name in _UNITS if values[name] is not None}
    append_result(
        results,
        result_record(
            model="-",
            dataset="made embeddings",
            protocol={"task": row.task, "samples": row.samples, "dimension": DIMENSION},
            metrics=metrics,
            units={name: _UNITS[name] for name in metrics},
        ),
    )


def _append_comparison(results: Path, size: int, ours: float, direct: float) -> None:
    metrics = {"ours_seconds": ours, "direct_seconds": direct}
    append_result(
        results,
        result_record(
            model="-",
            dataset="made embeddings",
            protocol={"task": "dedup inside one cluster", "samples": size, "rounds": _ROUNDS},
            metrics=metrics,
            units=dict.fromkeys(metrics, "s"),
        ),
    )
