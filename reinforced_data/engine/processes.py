"""Several processes of one machine at one list of shards."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path

import torch

from zoo.reinforced_data.engine.locations import ShardTask
from zoo.reinforced_data.engine.pipeline import Outcome
from zoo.reinforced_data.engine.prepare import sendable
from zoo.reinforced_data.engine.progress import OnEvent
from zoo.reinforced_data.engine.specification import Specification, work_device
from zoo.reinforced_data.engine.work_list import work_through

_INTERRUPTED = 130


def run_in_processes(
    tasks: Sequence[ShardTask],
    specification: Specification,
    *,
    processes: int,
    folder: Path,
    workers: int,
    on_event: OnEvent,
) -> Outcome:
    """Do what `run_tasks` does in several processes, which share the work by their claims.

    An error in one ends all and is raised here. The shards of a process that is killed are taken
    over by the others. Raises OSError when none is left.
    """
    context = multiprocessing.get_context("spawn")
    children: dict[Connection, BaseProcess] = {}
    try:
        for number in range(processes):
            ours, theirs = context.Pipe()
            arguments = (theirs, tasks, specification, number, processes, folder, workers)
            child = context.Process(target=_work, args=arguments)
            child.start()
            theirs.close()
            children[ours] = child
        outcomes = _listen(list(children), on_event)
    finally:
        for child in children.values():
            child.terminate()
        for child in children.values():
            child.join()
    if not outcomes:
        raise OSError("All processes were ended before the work was done; run the same again.")
    return merge_outcomes(outcomes)


def merge_outcomes(outcomes: Sequence[Outcome]) -> Outcome:
    """Join what several processes did; what one wrote, another may have found finished."""
    written = [number for outcome in outcomes for number in outcome.written]
    kept = {number for outcome in outcomes for number in outcome.kept}
    skipped = [skipped for outcome in outcomes for skipped in outcome.skipped]
    return Outcome(
        written=written,
        kept=sorted(kept.difference(written)),
        skipped=list(dict.fromkeys(skipped)),
        samples=sum(outcome.samples for outcome in outcomes),
    )


def _listen(connections: list[Connection], on_event: OnEvent) -> list[Outcome]:
    """Pass on events until every process has ended; raises the first error of any."""
    outcomes = []
    while connections:
        for connection in wait(connections):
            assert isinstance(connection, Connection)
            try:
                message = connection.recv()
            except (EOFError, ConnectionError):
                connections.remove(connection)
                continue
            if isinstance(message, Exception):
                raise message
            if isinstance(message, Outcome):
                outcomes.append(message)
            else:
                on_event(message)
    return outcomes


def _work(
    connection: Connection,
    tasks: Sequence[ShardTask],
    specification: Specification,
    number: int,
    processes: int,
    folder: Path,
    workers: int,
) -> None:
    """Be one of the processes; what a user can put right is sent as the error itself."""
    # Being asked to end, like Ctrl-C, lets go of the shards in work.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        device = work_device(number)
        if device.type == "cpu":
            torch.set_num_threads(max(1, (os.cpu_count() or 1) // processes))
        outcome = work_through(
            tasks,
            specification.load(device),
            folder=folder,
            workers=workers,
            on_event=connection.send,
            checked=slice(number, None, processes),
        )
        connection.send(outcome)
    except (ValueError, OSError) as error:
        connection.send(sendable(error))
    except KeyboardInterrupt:
        sys.exit(_INTERRUPTED)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os.kill(os.getpid(), signal.SIGTERM)
