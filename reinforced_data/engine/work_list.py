"""A list of shards, worked through in this process."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict

from zoo.reinforced_data.engine.claims import SidecarLock
from zoo.reinforced_data.engine.locations import ShardTask
from zoo.reinforced_data.engine.pipeline import Outcome, run_tasks
from zoo.reinforced_data.engine.progress import OnEvent, Settled
from zoo.reinforced_data.engine.settings import Reinforcement
from zoo.reinforced_data.engine.shard_in_work import is_finished

EVERY_TASK = slice(None)


class WorkOptions(TypedDict):
    """How work is done, whatever it is."""

    folder: Path
    """For copies of what lies at URLs."""
    workers: int
    """Processes that prepare pictures."""
    on_event: OnEvent


def work_through(
    tasks: Sequence[ShardTask],
    settings: Reinforcement,
    *,
    folder: Path,
    workers: int,
    on_event: OnEvent,
    checked: slice = EVERY_TASK,
) -> Outcome:
    """Check the finished sidecars of the tasks `checked`, before anything is computed, then
    compute what is left with `run_tasks`; raises what `is_finished` and that raise.
    """
    finished = {task.number: task for task in tasks[checked] if is_finished(task, settings)}
    for number, task in finished.items():
        on_event(Settled(number))
        if isinstance(task.sidecar, Path):
            SidecarLock(task.sidecar).sweep()
    unfinished = [task for task in tasks if task.number not in finished]
    outcome = run_tasks(unfinished, settings, folder=folder, workers=workers, on_event=on_event)
    outcome.kept += finished
    return outcome
