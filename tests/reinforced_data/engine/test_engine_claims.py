"""A sidecar has one writer at a time, and the work of a killed one is taken over.

.venv/bin/pytest tests/reinforced_data/engine/test_engine_claims.py
"""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from zoo.reinforced_data.engine.claims import SidecarLock
from zoo.reinforced_data.engine.reinforce import Progress, reinforce
from zoo.reinforced_data.engine.teachers import Teacher
from zoo.reinforced_data.randomness import keyed_rng
from zoo.reinforced_data.sidecars.sidecar import sidecar_path

HELPERS = Path(__file__).parent.parent.parent / "helpers"

ENGINE = """
import sys, time
sys.path.insert(0, sys.argv[1])
from tiny_shards import random_teacher
from zoo.reinforced_data.engine.reinforce import reinforce

def slow(progress):
    print(progress.samples_done, flush=True)
    time.sleep(float(sys.argv[4]))

reinforce(sys.argv[2], teachers=[random_teacher('tiny', 0)], augmentations=3, batch_size=6,
    seed=3, workers=int(sys.argv[3]), on_progress=slow)
"""


def start(folder: Path, *, workers: int, pause: float) -> subprocess.Popen[bytes]:
    """Start the engine in a process group of its own."""
    arguments = [str(HELPERS), str(folder), str(workers), str(pause)]
    return subprocess.Popen(
        [sys.executable, "-c", ENGINE, *arguments], stdout=subprocess.PIPE, start_new_session=True
    )


def kill(engine: subprocess.Popen[bytes]) -> None:
    """SIGKILL the engine and its workers."""
    os.killpg(engine.pid, signal.SIGKILL)
    engine.wait()


def run(shards: list[Path], teacher: Teacher, **changes: Any) -> list[bytes]:
    reinforce(shards, teachers=[teacher], augmentations=3, batch_size=6, seed=3, **changes)
    return [sidecar_path(shard).read_bytes() for shard in shards]


def remove(shards: list[Path]) -> None:
    for shard in shards:
        sidecar_path(shard).unlink()


def test_a_lock_has_one_holder_until_it_is_let_go(tmp_path: Path) -> None:
    first, second = SidecarLock(tmp_path / "a.safetensors"), SidecarLock(tmp_path / "a.safetensors")
    assert first.acquire() and not second.acquire()
    first.release()
    assert second.acquire() and not first.acquire()
    second.release()
    assert list(tmp_path.iterdir()) == []


def test_a_lock_whose_file_was_removed_meanwhile_is_not_taken_for_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The holder lets go between the second's opening of the file and its locking."""
    holder, late, third = (SidecarLock(tmp_path / "a.safetensors") for _ in range(3))
    assert holder.acquire()
    opened = os.open

    def open_then_release(*arguments: Any) -> int:
        descriptor = opened(*arguments)
        monkeypatch.setattr(os, "open", opened)
        holder.release()
        return descriptor

    monkeypatch.setattr(os, "open", open_then_release)
    assert late.acquire()
    assert not third.acquire()


def test_a_shard_that_another_run_writes_is_waited_for_and_taken_over(
    shards: list[Path], teacher: Teacher
) -> None:
    expected = run(shards, teacher)
    remove(shards)
    other = SidecarLock(sidecar_path(shards[0]))
    assert other.acquire()
    seen: list[Progress] = []
    waiting = threading.Event()

    def watch(progress: Progress) -> None:
        seen.append(progress)
        if progress.waiting:
            waiting.set()

    def die() -> None:
        waiting.wait(60)
        assert sidecar_path(shards[1]).exists() and not sidecar_path(shards[0]).exists()
        other.release()

    owner = threading.Thread(target=die)
    owner.start()
    assert run(shards, teacher, on_progress=watch) == expected
    owner.join()
    assert any(progress.waiting == 1 for progress in seen)


def test_two_runs_at_once_write_each_sidecar_once(shards: list[Path], teacher: Teacher) -> None:
    expected = run(shards, teacher)
    remove(shards)
    other = start(shards[0].parent, workers=0, pause=0.3)
    try:
        assert other.stdout is not None and other.stdout.readline()  # it is at its first shard
        ours = reinforce(shards, teachers=[teacher], augmentations=3, batch_size=6, seed=3)
        assert other.wait(60) == 0
    finally:
        other.kill()
    assert (ours.kept, ours.written) == ((sidecar_path(shards[0]),), (sidecar_path(shards[1]),))
    assert [sidecar_path(shard).read_bytes() for shard in shards] == expected
    assert len(list(shards[0].parent.iterdir())) == 4


def test_a_run_that_was_killed_is_finished_by_the_next(
    shards: list[Path], teacher: Teacher
) -> None:
    expected = run(shards, teacher)
    remove(shards)
    engine = start(shards[0].parent, workers=1, pause=0.2)
    assert engine.stdout is not None
    for _ in range(4):
        engine.stdout.readline()
    kill(engine)
    assert run(shards, teacher) == expected
    assert len(list(shards[0].parent.iterdir())) == 4


def test_what_a_run_left_that_was_killed_after_its_last_sidecar_is_swept_away(
    shards: list[Path], teacher: Teacher
) -> None:
    expected = run(shards, teacher)
    (shards[0].parent / ".00000.reinforced.lock").touch()
    assert run(shards, teacher) == expected
    assert len(list(shards[0].parent.iterdir())) == 4


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_killed_at_any_moment_the_set_becomes_that_of_an_undisturbed_run(
    shards: list[Path], teacher: Teacher, workers: int
) -> None:
    expected = run(shards, teacher)
    rng = keyed_rng("kill", workers)
    for _ in range(6):
        remove([shard for shard in shards if sidecar_path(shard).exists()])
        engine = start(shards[0].parent, workers=workers, pause=0.05)
        assert engine.stdout is not None
        engine.stdout.readline()  # the models are loaded
        time.sleep(rng.uniform(0, 0.6))
        kill(engine)
        assert run(shards, teacher) == expected
        assert len(list(shards[0].parent.iterdir())) == 4
