"""A step begins where the last one ended; a killed run goes on in the middle of its step.

Run: pytest tests/training/continual/test_continual_run.py
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from time_steps import NAMES, toy_run, write_plan
from toy_batches import ALONE

from zoo.training.checkpoints.folders import checkpoints
from zoo.training.continual.run import ContinualRun, train_continually

HELPERS = Path(__file__).parent.parent.parent / "helpers"
UPDATES = 4
ASKED: dict[str, Any] = {"method": "exp", "patching": 0.75}

pytestmark = pytest.mark.usefixtures("one_thread")


class Stopped(Exception):
    """Stands for a signal that ends the process."""


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_plan(tmp_path_factory.mktemp("time"))


@pytest.fixture(scope="module")
def finished(plan: Path, tmp_path_factory: pytest.TempPathFactory) -> ContinualRun:
    run = toy_run(plan, tmp_path_factory.mktemp("finished") / "run", **ASKED)
    train_continually(run, world=ALONE)
    return run


def metrics(run: ContinualRun, name: str) -> list[dict[str, Any]]:
    lines = (run.folder / name / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def begun_from(run: ContinualRun, name: str) -> str | None:
    """The weights that a step started from, as its last checkpoint tells."""
    state = checkpoints(run.folder / name)[-1] / "state.json"
    return json.loads(state.read_text())["recipe"]["init"]


def test_each_step_is_a_run_with_a_schedule_of_its_own(finished: ContinualRun) -> None:
    for number, name in enumerate(NAMES):
        lines = metrics(finished, name)
        assert [line["step"] for line in lines] == list(range(1, UPDATES + 1))
        # The first step warms up over two updates, the later ones over one.
        rates = [line["learning_rate"] for line in lines]
        assert rates[0] == pytest.approx(0.0005 if number == 0 else 0.001)
        assert rates[-1] < rates[1]


def test_a_step_starts_from_the_patched_weights_of_the_step_before(finished: ContinualRun) -> None:
    one, two = (finished.folder / name for name in NAMES[:2])
    assert not (one / "patched.safetensors").exists()
    assert begun_from(finished, "two") == str(one / "weights.safetensors")
    assert begun_from(finished, "three") == str(two / "patched.safetensors")
    before, after = (load_file(folder / "weights.safetensors") for folder in (one, two))
    patched = load_file(two / "patched.safetensors")
    changed = 0
    for name, value in patched.items():
        if value.is_floating_point():
            expected = 0.25 * before[name] + 0.75 * after[name]
            torch.testing.assert_close(value, expected)
            changed += not torch.equal(before[name], after[name])
    assert changed > 50


def test_a_finished_run_is_kept_when_it_resumes(finished: ContinualRun) -> None:
    files = [finished.folder / name / "weights.safetensors" for name in NAMES]
    before = [file.stat().st_mtime_ns for file in files]
    seen: list[tuple[int, Path]] = []
    weights = train_continually(
        finished, world=ALONE, resume=True, on_step=lambda *step: seen.append(step)
    )
    assert [file.stat().st_mtime_ns for file in files] == before
    assert seen == list(enumerate(weights))
    assert [path.name for path in weights] == ["weights.safetensors", *["patched.safetensors"] * 2]


def test_a_folder_with_a_run_is_not_begun_again(finished: ContinualRun) -> None:
    with pytest.raises(ValueError, match=r"already holds a continual run; resume it \(--resume\)"):
        train_continually(finished, world=ALONE)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"method": "equal"}, "begun with method=exp, this run has method=equal"),
        ({"patching": None}, r"begun with patching=0\.75, this run has patching=None"),
        (
            {"learning_rate": 0.5},
            r"begun with learning_rate=0\.001, this run has learning_rate=0\.5",
        ),
    ],
)
def test_another_run_does_not_go_on_in_a_folder(
    finished: ContinualRun, plan: Path, changes: dict[str, Any], complaint: str
) -> None:
    run = toy_run(plan, finished.folder, **(ASKED | changes))
    with pytest.raises(ValueError, match=complaint):
        train_continually(run, world=ALONE, resume=True)


def test_the_oracle_starts_from_scratch_with_the_budget_of_all_steps(
    plan: Path, tmp_path: Path
) -> None:
    run = toy_run(plan, tmp_path, method="oracle")
    recipes = [run.step_recipe(number, None) for number in range(len(NAMES))]
    assert [recipe.samples_seen for recipe in recipes] == [16, 32, 48]
    assert [recipe.warmup_samples for recipe in recipes] == [8, 8, 8]

    def stop(number: int, weights: Path) -> None:
        if number == 1:
            raise Stopped

    run = toy_run(plan, tmp_path, method="oracle", samples_seen=8, warmup_samples=4)
    with pytest.raises(Stopped):
        train_continually(run, world=ALONE, on_step=stop)
    assert [len(metrics(run, name)) for name in NAMES[:2]] == [2, 4]
    assert begun_from(run, "two") is None


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"method": "some"}, "'some'; give one of sequential, all, exp, equal, oracle"),
        ({"method": "all", "buffer": 5}, "only with exp or equal"),
        ({"method": "exp", "buffer": 0}, "buffer is 0"),
        ({"patching": 1.0}, r"patching is 1\.0; give a number between 0 and 1"),
        ({"patching": 0.5, "method": "oracle"}, "from scratch: leave out patching"),
    ],
)
def test_what_cannot_work_is_refused(
    plan: Path, tmp_path: Path, changes: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint):
        toy_run(plan, tmp_path, **changes)


def test_missing_shards_of_a_late_step_are_found_before_the_first(
    plan: Path, tmp_path: Path
) -> None:
    content = json.loads(plan.read_text())
    content["steps"][2]["shards"] = "nowhere"
    late = plan.with_name("late.json")
    late.write_text(json.dumps(content))
    run = toy_run(late, tmp_path / "run")
    with pytest.raises(ValueError, match="nowhere"):
        train_continually(run, world=ALONE)
    assert not run.folder.exists()


def main(plan: str, folder: str) -> None:
    """Begin the run of `finished` in a process of its own."""
    torch.set_num_threads(1)
    train_continually(toy_run(Path(plan), Path(folder), **ASKED), world=ALONE)


def start_process(plan: Path, folder: Path) -> subprocess.Popen[bytes]:
    program = "import sys, test_continual_run; test_continual_run.main(*sys.argv[1:])"
    paths = [str(HELPERS), str(Path(__file__).parent), *filter(None, sys.path)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}
    arguments = [sys.executable, "-c", program, str(plan), str(folder)]
    return subprocess.Popen(arguments, env=environment)


def kill_in_second_step(process: subprocess.Popen[bytes], folder: Path) -> None:
    log = folder / "two" / "metrics.jsonl"
    deadline = time.monotonic() + 120
    while not (log.exists() and log.read_bytes().count(b"\n") >= UPDATES - 1):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()


def test_a_run_killed_in_a_step_equals_an_undisturbed_one(
    finished: ContinualRun, plan: Path, tmp_path: Path
) -> None:
    kill_in_second_step(start_process(plan, tmp_path), tmp_path)
    first = (tmp_path / "one" / "weights.safetensors").stat().st_mtime_ns
    assert not (tmp_path / "two" / "weights.safetensors").exists(), "it was killed too late"
    run = toy_run(plan, tmp_path, **ASKED)
    weights = train_continually(run, world=ALONE, resume=True)
    assert (tmp_path / "one" / "weights.safetensors").stat().st_mtime_ns == first
    for path in weights:
        mine, expected = (
            load_file(file) for file in (path, finished.folder / path.relative_to(run.folder))
        )
        assert all(torch.equal(mine[key], expected[key]) for key in expected)
