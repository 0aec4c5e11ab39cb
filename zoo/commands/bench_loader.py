"""`zoo bench loader`: the training loader beside open_clip's input pipeline."""

from __future__ import annotations

import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import torch
import tyro

from zoo.commands.bench import RESULTS
from zoo.commands.console import heading, show_table, status
from zoo.eval.results import append_result, result_record
from zoo.reinforced_data.benchmarks.loader import (
    LoaderRow,
    LoaderSetting,
    measure_loader,
    photographs,
    write_sidecars,
)

_QUICK_ROUNDS = 5
_QUICK_BATCHES = 2
_QUICK_BATCH_SIZE = 32


def loader(
    *,
    shards: Annotated[tuple[str, ...], tyro.conf.arg(metavar="SHARDS…")],
    image_size: int = 256,
    batch_size: int = 64,
    batches: int = 4,
    rounds: int = 7,
    workers: tuple[int, ...] = (0, 2),
    quick: bool = False,
    results: Path = RESULTS,
) -> None:
    """Compare our loader with open_clip's webdataset pipeline on the same shards and crops.

    Ours also replays RandAugment and reads a synthetic caption and the embeddings of two teachers,
    from sidecars that are made in a temporary folder. Interleaved rounds, torch on one thread.

    Args:
        shards: photographs with captions: a folder, globs, brace patterns or tars.
        image_size: side of the student's pictures, in pixels.
        batch_size: samples a batch.
        batches: timed in each round, of each pipeline.
        rounds: repetitions of every pipeline.
        workers: processes that prepare batches, one table for each number; CPU time with 0 only.
        quick: 5 rounds of 2 batches of 32, no workers.
        results: file that the JSON lines are appended to.
    """
    if quick:
        batch_size, batches, rounds, workers = (
            _QUICK_BATCH_SIZE,
            _QUICK_BATCHES,
            _QUICK_ROUNDS,
            (0,),
        )
    if min(batch_size, batches, rounds, image_size) < 1 or min(workers, default=0) < 0:
        raise ValueError("Sizes and counts are at least 1, workers 0 or more.")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with tempfile.TemporaryDirectory() as folder:
            status("making sidecars")
            found = photographs(shards)
            write_sidecars(found, Path(folder))
            for number in workers:
                setting = LoaderSetting(
                    shards=found,
                    sidecars=Path(folder),
                    image_size=image_size,
                    batch_size=batch_size,
                    workers=number,
                )
                _compare(setting, " ".join(shards), rounds, batches, results)
    finally:
        torch.set_num_threads(threads)


def _compare(
    setting: LoaderSetting, dataset: str, rounds: int, batches: int, results: Path
) -> None:
    rows = measure_loader(
        setting,
        rounds=rounds,
        batches=batches,
        on_round=lambda done, total: status(f"{setting.workers} workers: round {done}/{total}"),
    )
    protocol = {
        "image_size": setting.image_size,
        "batch_size": setting.batch_size,
        "batches": batches,
        "rounds": rounds,
        "workers": setting.workers,
        "threads": 1,
    }
    for row in rows:
        metrics = {name: value for name, value in asdict(row).items() if name in _UNITS and value}
        units = {name: _UNITS[name] for name in metrics}
        append_result(
            results,
            result_record(
                model=row.pipeline, dataset=dataset, protocol=protocol, metrics=metrics, units=units
            ),
        )
    heading(f"{setting.image_size} px, {setting.workers} workers, {rounds} rounds")
    show_table(_COLUMNS, [_cells(row) for row in rows])


_UNITS = {
    "wall_speed": "samples/s",
    "wall_lowest": "samples/s",
    "wall_highest": "samples/s",
    "wall_ratio": "ratio to open_clip",
    "cpu_speed": "samples/s of CPU time",
    "cpu_ratio": "ratio to open_clip",
}
_COLUMNS = ("pipeline", "samples/s (lowest…highest)", "ratio", "samples/s of CPU", "ratio")


def _cells(row: LoaderRow) -> list[str]:
    return [
        row.pipeline,
        f"{row.wall_speed:.0f} ({row.wall_lowest:.0f}…{row.wall_highest:.0f})",
        f"{row.wall_ratio:.2f}",
        "–" if row.cpu_speed is None else f"{row.cpu_speed:.0f}",
        "–" if row.cpu_ratio is None else f"{row.cpu_ratio:.2f}",
    ]
