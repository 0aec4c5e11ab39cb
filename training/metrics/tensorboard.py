"""The figures of a run as TensorBoard events."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any


class TensorBoardEvents:
    """Event files in a folder; the figures are named as in metrics.jsonl, `eval.x` as `eval/x`."""

    def __init__(self, folder: Path, first_step: int) -> None:
        """Hide what an earlier process wrote of `first_step` and later ones, then go on there."""
        from torch.utils.tensorboard import SummaryWriter

        # Typed Any: torch's writer has no annotations.
        writer: Any = SummaryWriter(log_dir=str(folder), purge_step=first_step)
        self._writer = writer

    def append(self, record: Mapping[str, float]) -> None:
        """Add the figures of one step; they are in the file when this returns."""
        for name, value in record.items():
            if name != "step":
                self._writer.add_scalar(name.replace(".", "/"), value, int(record["step"]))
        self._writer.flush()  # a killed run keeps what it has logged

    def close(self) -> None:
        """Close the event file."""
        self._writer.close()
