"""Shards over a Ray cluster: a thin driver around the same work on one shard."""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from zoo.reinforced_data.engine.locations import ShardTask
from zoo.reinforced_data.engine.pipeline import Outcome
from zoo.reinforced_data.engine.prepare import sendable
from zoo.reinforced_data.engine.processes import merge_outcomes
from zoo.reinforced_data.engine.progress import OnEvent, Settled, Step
from zoo.reinforced_data.engine.settings import Reinforcement
from zoo.reinforced_data.engine.specification import Specification, work_device
from zoo.reinforced_data.engine.work_list import work_through

_ATTEMPTS = 3
"""How often a shard is begun again whose worker was lost."""


def run_on_cluster(
    tasks: Sequence[ShardTask],
    specification: Specification,
    *,
    address: str,
    processes: int,
    folder: Path,
    workers: int,
    on_event: OnEvent,
) -> Outcome:
    """Do what `run_tasks` does on the machines of a Ray cluster; "local" starts one here.

    Every GPU of the cluster gets a worker that holds the teachers; without GPUs there are
    `processes` of them. They read and write where the tasks say, so local paths have to be on a
    file system that all machines share. A worker that is lost is replaced and its shard begun
    again. Raises ValueError without Ray, OSError when a shard loses its worker again and again,
    and what `run_tasks` raises.
    """
    ray = _start_ray(address)
    try:
        gpus = int(ray.cluster_resources().get("GPU", 0))
        actor = ray.remote(num_gpus=1 if gpus else 0, max_restarts=-1, max_task_retries=_ATTEMPTS)(
            ShardWorker
        )
        count = min(gpus or processes, len(tasks))
        idle = [actor.remote(specification, folder, workers) for _ in range(count)]
        outcomes = _distribute(ray, deque(tasks), idle, on_event)
    finally:
        ray.shutdown()
    return merge_outcomes(outcomes)


class ShardWorker:
    """Holds teachers and captioner, and works on one shard after the other."""

    def __init__(self, specification: Specification, folder: Path, workers: int) -> None:
        self._specification, self._folder, self._workers = specification, folder, workers
        self._settings: Reinforcement | None = None

    def work(self, task: ShardTask) -> Outcome | Exception:
        """Work on a shard; what a user can put right comes back as the error itself."""
        try:
            if self._settings is None:
                self._settings = self._specification.load(work_device())
            return work_through(
                [task],
                self._settings,
                folder=self._folder,
                workers=self._workers,
                on_event=lambda event: None,
            )
        except (ValueError, OSError) as error:
            return sendable(error)


def _distribute(
    ray: Any, left: deque[ShardTask], idle: list[Any], on_event: OnEvent
) -> list[Outcome]:
    """Give each idle worker the next shard until all are done."""
    running: dict[Any, tuple[Any, ShardTask]] = {}
    outcomes: list[Outcome] = []
    while left or running:
        while left and idle:
            worker, task = idle.pop(), left.popleft()
            running[worker.work.remote(task)] = worker, task
        (done, *_), _ = ray.wait(list(running))
        worker, task = running.pop(done)
        outcomes.append(_result(ray, done, task))
        idle.append(worker)
        written = task.number in outcomes[-1].written
        on_event(Step(task.number, outcomes[-1].samples, 1.0) if written else Settled(task.number))
    return outcomes


def _result(ray: Any, done: Any, task: ShardTask) -> Outcome:
    try:
        result = ray.get(done)
    except ray.exceptions.RayActorError as error:
        raise OSError(
            f"The worker for '{task.shard}' was lost {_ATTEMPTS + 1} times "
            f"({str(error).partition(chr(10))[0]}); look at its memory, then run again."
        ) from error
    if isinstance(result, Exception):
        raise result
    return result


def _start_ray(address: str) -> Any:
    try:
        # Read when ray is imported or starts its processes.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        import ray
    except ImportError as error:
        raise ValueError("Working on a cluster needs ray; install zoo[cluster].") from error
    try:
        ray.init(
            address=None if address == "local" else address,
            include_dashboard=False if address == "local" else None,
            logging_level=logging.ERROR,
            log_to_driver=False,
        )
    except ConnectionError as error:
        raise OSError(f"There is no Ray cluster at '{address}' ({error}); start one.") from error
    return ray
