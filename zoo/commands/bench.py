"""`zoo bench latency` and `zoo bench students`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import tyro

from zoo.commands.console import show_table, status, weights_argument
from zoo.commands.demo_stages import (
    STUDENTS,
    DemoFolder,
    evaluate_run,
    reinforce_student_data,
    train_student,
    train_teacher,
    write_data,
)
from zoo.eval.latency import LatencyRow, latency_record, measure_latency
from zoo.eval.results import Record, append_result, read_results
from zoo.models.load import load_image_text_model

RESULTS = Path("results.jsonl")
_QUICK_ROUNDS = 5


def latency(
    models: Annotated[tuple[str, ...], tyro.conf.Positional],
    /,
    *,
    weights: str = "none",
    threads: int = 1,
    rounds: int = 20,
    quick: bool = False,
    batch_size: int = 1,
    results: Path = RESULTS,
) -> None:
    """Time image and text tower: train-time, reparameterized, channels last; interleaved rounds.

    Args:
        models: names of `zoo list`.
        weights: "none" (random), "published" or a file; time does not depend on them.
        threads: of the CPU.
        rounds: repetitions of every variant.
        quick: five rounds.
        batch_size: pictures or texts at once.
        results: file that the JSON lines are appended to.
    """
    if not models:
        raise ValueError("There is nothing to time; give names of `zoo list`.")
    for name in models:
        model = load_image_text_model(name, weights=weights_argument(weights), reparameterize=False)
        measured = measure_latency(
            model,
            threads=threads,
            rounds=_QUICK_ROUNDS if quick else rounds,
            batch_size=batch_size,
            progress=lambda done, total, name=name: status(f"{name}: round {done}/{total}"),
        )
        for row in measured:
            append_result(results, latency_record(model, row))
        show_table(_COLUMNS, [_row(model.card.name, row) for row in measured])


_COLUMNS = ("model", "tower", "variant", "p50 ms", "p90 ms", "CPU ms", "M params", "G MACs", "MB")


def _row(name: str, row: LatencyRow) -> list[str]:
    return [
        name,
        row.part,
        row.variant,
        f"{row.p50_ms:.1f}",
        f"{row.p90_ms:.1f}",
        f"{row.cpu_p50_ms:.1f}",
        f"{row.parameters / 1e6:.2f}",
        f"{row.macs / 1e9:.3f}",
        f"{row.activation_bytes / 1e6:.1f}",
    ]


def students(*, folder: Path = Path("demo"), seeds: int = 3, quick: bool = False) -> None:
    """Train the demo's plain and reinforced student from several seeds and compare them.

    Uses the demo's data, teacher and sidecars in FOLDER, making what is not there yet; results go
    to FOLDER/students.jsonl.

    Args:
        folder: of the demo.
        seeds: students of each kind; they differ in initial weights and order of the data.
        quick: one seed.
    """
    paths = DemoFolder(folder)
    write_data(paths)
    train_teacher(paths)
    reinforce_student_data(paths)
    results = folder / "students.jsonl"
    results.unlink(missing_ok=True)
    for seed in range(1 if quick else seeds):
        for student in STUDENTS:
            run = train_student(paths, student, seed)
            evaluate_run(paths, run, results)
    show_table(_STUDENT_COLUMNS, _student_rows(read_results(results)))


_STUDENT_COLUMNS = ("student", "top-1", "image → text R@1", "text → image R@1")
_STUDENT_METRICS = ("acc1", "text_retrieval_recall@1", "image_retrieval_recall@1")


def _student_rows(records: list[Record]) -> list[list[str]]:
    figures: dict[str, dict[str, float]] = {}
    for record in records:
        figures.setdefault(record["model"], {}).update(record["metrics"])
    return [
        [run, *(f"{metrics[name]:.2%}" for name in _STUDENT_METRICS)]
        for run, metrics in figures.items()
    ]
