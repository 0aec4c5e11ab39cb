"""`zoo bench reinforcement`: what reinforced training costs beside plain training."""

from __future__ import annotations

import tempfile
from dataclasses import asdict
from pathlib import Path

import torch

from zoo.commands.bench import RESULTS
from zoo.commands.console import heading, show_table, status
from zoo.eval.results import append_result, result_record
from zoo.reinforced_data.benchmarks.loader import photographs, write_sidecars
from zoo.reinforced_data.loading.views import Pixels
from zoo.training.benchmarks.reinforcement import (
    ReinforcementRow,
    ReinforcementSetting,
    measure_reinforcement,
)

_QUICK_ROUNDS = 5
_QUICK_MODEL = "mobileclip-tiny"


def reinforcement(
    *,
    shards: Path,
    model: str = "mobileclip2-s0",
    batch_size: int = 32,
    rounds: int = 7,
    workers: int = 0,
    threads: int = 2,
    pixels: Pixels = "exact",
    device: str = "cpu",
    quick: bool = False,
    results: Path = RESULTS,
) -> None:
    """Compare wait and step time of plain and reinforced training, at equal captions a picture.

    Reinforced: two teachers of 768 numbers, in int8 sidecars that are made in a temporary folder.
    Interleaved rounds, medians.

    Args:
        shards: photographs with captions, a folder or a tar.
        model: a name of `zoo list`; it is trained from random weights.
        batch_size: samples a step.
        rounds: timed steps of every kind.
        workers: processes that prepare batches; 0 lets the whole cost of reading show.
        threads: of the CPU.
        pixels: how views are made, "exact" or "fast".
        device: cpu or cuda.
        quick: 5 rounds of mobileclip-tiny.
        results: file that the JSON lines are appended to.
    """
    if quick:
        model, rounds = _QUICK_MODEL, _QUICK_ROUNDS
    if min(batch_size, rounds, threads) < 1 or workers < 0:
        raise ValueError("Sizes and counts are at least 1, workers 0 or more.")
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with tempfile.TemporaryDirectory() as folder:
            status("making sidecars")
            write_sidecars(photographs((str(shards),)), Path(folder))
            setting = ReinforcementSetting(
                model=model,
                shards=shards,
                sidecars=Path(folder),
                batch_size=batch_size,
                workers=workers,
                pixels=pixels,
                device=device,
            )
            rows = measure_reinforcement(
                setting,
                rounds=rounds,
                on_round=lambda done, total: status(f"{model}: round {done}/{total}"),
            )
    finally:
        torch.set_num_threads(before)
    for row in rows:
        _append(results, setting, row, {"rounds": rounds, "threads": threads})
    heading(f"{model}, batches of {batch_size}, {workers} workers, {rounds} rounds")
    show_table(_COLUMNS, [_cells(row) for row in rows])


_UNITS = {
    "wait_seconds": "s",
    "step_seconds": "s",
    "ratio": "ratio to plain training",
    "step_ratio": "ratio to plain training",
}
_COLUMNS = ("training", "wait, s", "step, s", "wait + step (lowest…highest)", "step", "beside")


def _append(
    results: Path, setting: ReinforcementSetting, row: ReinforcementRow, protocol: dict[str, int]
) -> None:
    names = ("batch_size", "workers", "pixels", "device")
    chosen = {name: getattr(setting, name) for name in names}
    record = result_record(
        model=setting.model,
        dataset=str(setting.shards),
        protocol=protocol | chosen | {"kind": row.kind, "compared_with": row.compared_with},
        metrics={name: asdict(row)[name] for name in _UNITS},
        units=_UNITS,
    )
    append_result(results, record)


def _cells(row: ReinforcementRow) -> list[str]:
    return [
        row.kind,
        f"{row.wait_seconds:.3f}",
        f"{row.step_seconds:.3f}",
        f"{row.ratio:.3f} ({row.lowest:.3f}…{row.highest:.3f})",
        f"{row.step_ratio:.3f}",
        row.compared_with,
    ]
