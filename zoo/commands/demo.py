"""`zoo demo`: the whole way once, offline, on the tiny world; every stage is a zoo command."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

from zoo.commands import bench
from zoo.commands.console import duration, heading, say
from zoo.commands.demo_report import RUNS, write_demo_report
from zoo.commands.demo_stages import (
    MODEL,
    STUDENTS,
    DemoFolder,
    evaluate_run,
    reinforce_student_data,
    train_student,
    train_teacher,
    write_data,
)
from zoo.commands.demo_vision_language import evaluate_answers, train_stages, write_conversations
from zoo.commands.export import export

LATENCY_ROUNDS = 50


def demo(*, folder: Path = Path("demo"), fresh: bool = False) -> None:
    """Write data, train a teacher, reinforce, train two students, evaluate, export, time, report.

    A vision-language model is trained in its four stages, too, and asked about held-out scenes.

    Stages that are finished are kept, and a training that was stopped goes on where it was.

    Args:
        folder: where everything goes; report.html is the page to open.
        fresh: throw away what an earlier run left there.
    """
    if fresh and folder.exists():
        shutil.rmtree(folder)
    start = time.monotonic()
    paths = DemoFolder(folder)
    write_data(paths)
    train_teacher(paths)
    reinforce_student_data(paths)
    for student in STUDENTS:
        train_student(paths, student)
    write_conversations(paths)
    answering_run = train_stages(paths)
    paths.results.unlink(missing_ok=True)
    for run in RUNS:
        evaluate_run(paths, run, paths.results)
    evaluate_answers(paths, answering_run, paths.results)
    _export(paths)
    heading("report")
    report = write_demo_report(paths, answering_run)
    say(f"{report} is ready after {duration(time.monotonic() - start)}")


def _export(paths: DemoFolder) -> None:
    """Core ML packages of the reinforced student, and the latency of its towers."""
    weights = str(paths.weights("reinforced"))
    heading("exporting the reinforced student to Core ML")
    export(MODEL, paths.root / "export", weights=weights, results=paths.results)
    heading("timing the reinforced student")
    bench.latency((MODEL,), weights=weights, rounds=LATENCY_ROUNDS, results=paths.results)
