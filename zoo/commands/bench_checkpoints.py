"""`zoo bench checkpoints`: how long training stands still for one."""

from __future__ import annotations

import tempfile
from dataclasses import asdict
from pathlib import Path

from zoo.commands.bench import RESULTS
from zoo.commands.console import heading, show_table, status
from zoo.eval.results import append_result, result_record
from zoo.models.load import load_image_text_model
from zoo.training.benchmarks.checkpoints import CheckpointRow, measure_checkpoints

_QUICK_MODEL = "mobileclip-tiny"
_COLUMNS = ("way", "training stands still (lowest…highest)", "the first time")


def checkpoints(
    *,
    model: str = "mobileclip-s0",
    rounds: int = 7,
    folder: Path | None = None,
    quick: bool = False,
    results: Path = RESULTS,
) -> None:
    """Compare checkpoints in the background with waiting for them, and with torch.save.

    Args:
        model: whose state is written, with AdamW's moments.
        rounds: checkpoints of each way, in turns, after a first one.
        folder: where they are written for the moment; None takes the system's temporary folder.
        quick: 5 rounds of mobileclip-tiny.
        results: file that the JSON lines are appended to.
    """
    if quick:
        model, rounds = _QUICK_MODEL, 5
    if rounds < 1:
        raise ValueError(f"rounds is {rounds}; give 1 or more.")
    with tempfile.TemporaryDirectory(dir=folder) as output:
        rows = measure_checkpoints(
            load_image_text_model(model, weights=None, reparameterize=False),
            Path(output),
            rounds=rounds,
            on_round=lambda done, total: status(f"round {done}/{total}"),
        )
    for row in rows:
        metrics = {name: value for name, value in asdict(row).items() if name != "way"}
        record = result_record(
            model=model,
            dataset="none",
            protocol={"task": "checkpoints", "way": row.way, "rounds": rounds},
            metrics=metrics,
            units=dict.fromkeys(metrics, "s"),
        )
        append_result(results, record)
    heading(f"a checkpoint of {model}, {rounds} rounds")
    show_table(_COLUMNS, [_cells(row) for row in rows])


def _cells(row: CheckpointRow) -> list[str]:
    return [
        row.way,
        f"{row.stall_seconds:.3f} s ({row.lowest:.3f}…{row.highest:.3f})",
        f"{row.first:.3f} s",
    ]
