"""`zoo bench losses`: the fused loss beside the plain one and open_clip's."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path

from zoo.commands.bench import RESULTS
from zoo.commands.console import duration, heading, say, show_table, status
from zoo.eval.results import append_result, result_record
from zoo.training.benchmarks.losses import LossCase, LossRow, cases, measure_losses

_OBJECTIVES = ("clip", "distillation", "reinforced")
_QUICK_BATCHES = (512, 1024)
_GIGABYTE = 10**9


def losses(
    *,
    batches: tuple[int, ...] = (1024, 2048, 4096, 8192, 16384),
    rounds: int = 5,
    threads: int = 1,
    memory_limit: float = 20.0,
    quick: bool = False,
    results: Path = RESULTS,
) -> None:
    """Compare time and peak memory of the fused loss, the plain one and open_clip's.

    Plain CLIP, one teacher, and MobileCLIP's two teachers with two captions; forward and backward
    on random features, in interleaved rounds; each peak is measured in a process of its own.

    Args:
        batches: sizes of the batch.
        rounds: repetitions of every loss, after one that does not count.
        threads: of the CPU.
        memory_limit: gigabytes; losses that may need more are left out.
        quick: batches of 512 and 1024.
        results: file that the JSON lines are appended to.
    """
    sizes = _QUICK_BATCHES if quick else batches
    if min(rounds, threads, *sizes) < 1:
        raise ValueError("Batches, rounds and threads are at least 1.")
    for objective in _OBJECTIVES:
        rows: list[LossRow] = []
        for batch in sizes:
            limit = int(memory_limit * _GIGABYTE)
            compared = cases(objective, batch, threads=threads, memory_limit=limit)
            rows += _measure(compared, rounds, results)
        heading(f"{objective}, {threads} threads, {rounds} rounds")
        show_table(_COLUMNS, [_cells(row) for row in rows])
        left_out = [str(row.case.batch) for row in rows if row.cpu_ratio is None]
        if left_out:
            say(f"Above the memory limit, only the fused loss: {', '.join(left_out)}.")


def _measure(compared: list[LossCase], rounds: int, results: Path) -> list[LossRow]:
    start = time.monotonic()
    case = compared[0]

    def on_round(done: int, total: int) -> None:
        left = (time.monotonic() - start) / (done + 1) * (total - done)
        status(f"{case.objective}, {case.batch}: round {done}/{total}, {duration(left)} left")

    rows = measure_losses(compared, rounds=rounds, on_round=on_round)
    for row in rows:
        figures = asdict(row)
        metrics = {name: figures[name] for name in _UNITS if figures[name] is not None}
        append_result(
            results,
            result_record(
                model=row.case.loss,
                dataset="random features",
                protocol=asdict(row.case) | {"rounds": rounds},
                metrics=metrics,
                units={name: _UNITS[name] for name in metrics},
            ),
        )
    return rows


_UNITS = {
    "cpu_seconds": "s",
    "cpu_lowest": "s",
    "cpu_highest": "s",
    "wall_seconds": "s",
    "cpu_ratio": "ratio to the plain loss",
    "peak_bytes": "bytes",
    "memory_ratio": "ratio to the plain loss",
}
_COLUMNS = ("batch", "loss", "CPU s (lowest…highest)", "ratio", "wall s", "peak MB", "ratio")


def _cells(row: LossRow) -> list[str]:
    return [
        str(row.case.batch),
        row.case.loss,
        f"{row.cpu_seconds:.3g} ({row.cpu_lowest:.3g}…{row.cpu_highest:.3g})",
        "–" if row.cpu_ratio is None else f"{row.cpu_ratio:.2f}",
        f"{row.wall_seconds:.3g}",
        f"{row.peak_bytes / 1e6:.0f}",
        "–" if row.memory_ratio is None else f"1/{1 / row.memory_ratio:.1f}",
    ]
