"""How long steps take, and how long they wait for data."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import NamedTuple, TypeVar

Item = TypeVar("Item")


class Speed(NamedTuple):
    """One reading of a Stopwatch."""

    steps_per_second: float
    wait_fraction: float
    """Share of the time that went into waiting for batches, 0…1."""


class Stopwatch:
    """Measures steps, and how much of their time was spent waiting for batches."""

    def __init__(self) -> None:
        self.created = time.perf_counter()
        self.restart()

    @property
    def elapsed_seconds(self) -> float:
        """Time since this stopwatch was made, pauses included."""
        return time.perf_counter() - self.created

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
