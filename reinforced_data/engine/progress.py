"""How far a run is, whichever processes do its work."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from zoo.reinforced_data.engine.locations import ShardTask


@dataclass(frozen=True)
class Progress:
    """Where a run stands; finished sidecars of earlier runs count as nothing."""

    shards_done: int
    shards: int
    samples_done: int
    samples_per_second: float
    seconds_left: float
    """Estimated from the bytes of the shards."""
    waiting: int
    """Shards that another run is writing, which this one waits for."""


class Step(NamedTuple):
    """A piece of a shard was computed."""

    task: int
    samples: int
    share: float
    """Of the shard's samples."""


class Settled(NamedTuple):
    """A shard turned out to need no work of this run."""

    task: int


class Waiting(NamedTuple):
    """All shards that are left are being written by others."""

    shards: int


Event = Step | Settled | Waiting
OnEvent = Callable[[Event], None]


class Meter:
    """Turns events of any process into a report after each."""

    def __init__(
        self, tasks: Sequence[ShardTask], report: Callable[[Progress], None] | None
    ) -> None:
        self._sizes = {task.number: task.size for task in tasks}
        self._shares = dict.fromkeys(self._sizes, 0.0)
        self._report = report
        self._waiting = 0
        self._start = time.monotonic()
        self.samples_done = 0

    @property
    def seconds(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._start

    def take(self, event: Event) -> None:
        """Count what happened and report."""
        self._waiting = event.shards if isinstance(event, Waiting) else 0
        if isinstance(event, Settled):
            if not self._shares[event.task]:  # else another process of this run did it
                self._sizes.pop(event.task, None)
            return
        if isinstance(event, Step):
            self.samples_done += event.samples
            # More than all of a shard is done when a killed process had begun it.
            self._shares[event.task] = min(1.0, self._shares[event.task] + event.share)
        if self._report is not None:
            self._report(self._progress())

    def _progress(self) -> Progress:
        done = sum(size * self._shares[task] for task, size in self._sizes.items())
        left = sum(self._sizes.values()) - done
        return Progress(
            shards_done=sum(self._shares[task] > 1 - 1e-9 for task in self._sizes),
            shards=len(self._sizes),
            samples_done=self.samples_done,
            samples_per_second=self.samples_done / self.seconds,
            seconds_left=self.seconds * left / done if done else 0.0,
            waiting=self._waiting,
        )
