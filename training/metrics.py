"""What a run tells while it goes on: lines of metrics.jsonl and the same figures as progress."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeVar

Item = TypeVar("Item")


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a run is; handed to `on_progress` at every logged step."""

    step: int
    """Optimizer steps done."""
    steps: int
    """Optimizer steps of the whole run."""
    samples_seen: int
    loss: float
    """Sum of `losses`, of this step's batch."""
    losses: Mapping[str, float]
    """The named losses, weights applied."""
    gauges: Mapping[str, float]
    """Other figures of the task, such as the multiplier `logit_scale`."""
    learning_rate: float
    """Rate of this step's update."""
    samples_per_second: float
    """Since the line before."""
    data_wait_fraction: float
    """Share of the time since the line before that was spent waiting for batches, 0…1."""
    evaluation: Mapping[str, float]
    """What `on_evaluate` returned at this step; empty at other steps."""

    @property
    def eta_seconds(self) -> float:
        """Time to the end of the run at the present speed."""
        samples_a_step = self.samples_seen / self.step
        return (self.steps - self.step) * samples_a_step / self.samples_per_second

    def to_record(self) -> dict[str, float]:
        """Return the line of metrics.jsonl; figures of the evaluation are named `eval.NAME`."""
        return {
            "step": self.step,
            "samples_seen": self.samples_seen,
            "loss": self.loss,
            **self.losses,
            "learning_rate": self.learning_rate,
            "samples_per_second": self.samples_per_second,
            "data_wait_fraction": self.data_wait_fraction,
            **self.gauges,
            **{f"eval.{name}": value for name, value in self.evaluation.items()},
        }


class Speed(NamedTuple):
    """One reading of a Stopwatch."""

    steps_per_second: float
    wait_fraction: float
    """Share of the time that went into waiting for batches, 0…1."""


class Stopwatch:
    """Measures steps, and how much of their time was spent waiting for batches."""

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Forget what was measured, so that a pause between two steps does not count."""
        self.started = time.perf_counter()
        self.waited = 0.0
        self.steps = 0

    def next(self, batches: Iterator[Item]) -> Item:
        """Return the next batch and count the wait for it."""
        begin = time.perf_counter()
        batch = next(batches)
        self.waited += time.perf_counter() - begin
        self.steps += 1
        return batch

    def read(self) -> Speed:
        """Return the speed since the last reading or restart, and start again."""
        elapsed = time.perf_counter() - self.started
        speed = Speed(self.steps / elapsed, self.waited / elapsed)
        self.restart()
        return speed


class MetricsFile:
    """metrics.jsonl: one JSON object a line, each step at most once."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, record: Mapping[str, float]) -> None:
        """Add a line; it is with the operating system when this returns."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")

    def keep_until(self, step: int) -> None:
        """Drop the lines of later steps and a torn last line: a resumed run writes them again.

        Raises ValueError for a line in the middle that is not JSON.
        """
        if not self.path.exists():
            return
        *lines, torn = self.path.read_text(encoding="utf-8").split("\n")
        kept = [line for line in lines if self._step_of(line) <= step]
        if torn or len(kept) < len(lines):
            draft = self.path.with_name(f".{self.path.name}.tmp")
            draft.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")
            os.replace(draft, self.path)

    def _step_of(self, line: str) -> int:
        try:
            return json.loads(line)["step"]
        except (ValueError, TypeError, KeyError) as error:
            raise ValueError(
                f"'{self.path}' has a line that is not a step of a run ({line[:40]!r}); "
                "repair or delete the file."
            ) from error
