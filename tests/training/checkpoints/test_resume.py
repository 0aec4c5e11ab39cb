"""A run that was killed continues bit for bit, and damaged checkpoints say what is wrong.

Run: pytest tests/training/checkpoints/test_resume.py
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from toy_batches import ALONE, ToyLoader, toy_recipe

from zoo.training.checkpoints.checkpoint import checkpoints
from zoo.training.checkpoints.random_state import random_state, set_random_state
from zoo.training.loop import train
from zoo.training.metrics.metrics_file import MetricsFile
from zoo.training.metrics.progress import Progress
from zoo.training.recipes.recipe import Recipe
from zoo.training.run import build_model

HELPERS = Path(__file__).parent.parent.parent / "helpers"
# Losses and everything else that is not a speed must agree exactly.
SPEEDS = ("samples_per_second", "data_wait_fraction")


class Killed(Exception):
    """Stands for a signal that ends the process."""


def killed_recipe(output: Path) -> Recipe:
    return toy_recipe(
        output,
        task="reinforced",
        distillation_weight=0.5,
        samples_seen=160,
        channels_last=True,
    )


def run(recipe: Recipe, *, resume: bool = False, stop_after: int | None = None) -> None:
    def stop(progress: Progress) -> None:
        if progress.step == stop_after:
            raise Killed

    train(
        recipe,
        model=build_model(recipe),
        loader=ToyLoader(recipe),
        world=ALONE,
        resume=resume,
        on_progress=stop,
    )


def read_metrics(output: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k not in SPEEDS} for line in lines]


def start_process(output: Path) -> subprocess.Popen[bytes]:
    """Train in a process of its own; it resumes if it can."""
    program = "import sys, test_resume; test_resume.main(sys.argv[1])"
    paths = [str(HELPERS), str(Path(__file__).parent), *filter(None, sys.path)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen([sys.executable, "-c", program, str(output)], env=environment)


def main(output: str) -> None:
    torch.set_num_threads(1)
    run(killed_recipe(Path(output)), resume=True)


def kill_after_step(process: subprocess.Popen[bytes], output: Path, step: int) -> None:
    metrics = output / "metrics.jsonl"
    deadline = time.monotonic() + 120
    while not (metrics.exists() and metrics.read_bytes().count(b"\n") >= step):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Sums depend on how many threads share them."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def saved_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of 12 steps with checkpoints after 8 and 12."""
    output = tmp_path_factory.mktemp("saved") / "run"
    run(toy_recipe(output))
    return output


@pytest.fixture
def copied_run(saved_run: Path, tmp_path: Path) -> Path:
    """The same run in a folder of its own, to be damaged."""
    return Path(shutil.copytree(saved_run, tmp_path / "run"))


@pytest.mark.usefixtures("one_thread")
def test_a_run_killed_half_way_equals_an_undisturbed_one(tmp_path: Path) -> None:
    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    process = start_process(killed)
    run(killed_recipe(undisturbed))
    kill_after_step(process, killed, step=10)  # between two checkpoints
    interrupted = (killed / "metrics.jsonl").read_bytes().count(b"\n")
    assert 10 <= interrupted < 20, "the run was not killed half-way"
    assert not (killed / "weights.safetensors").exists()
    assert start_process(killed).wait() == 0
    metrics = read_metrics(undisturbed)
    assert [line["step"] for line in metrics] == list(range(1, 21))
    assert read_metrics(killed) == metrics
    weights, expected = (
        load_file(output / "weights.safetensors") for output in (killed, undisturbed)
    )
    assert weights.keys() == expected.keys()
    assert all(torch.equal(weights[key], expected[key]) for key in expected)


@pytest.mark.parametrize("stop_after", [2, 5, 10])
def test_a_run_stopped_before_or_after_a_checkpoint_loses_no_step(
    stop_after: int, saved_run: Path, tmp_path: Path
) -> None:
    recipe = toy_recipe(tmp_path)
    with pytest.raises(Killed):
        run(recipe, stop_after=stop_after)
    run(recipe, resume=True)
    assert read_metrics(tmp_path) == read_metrics(saved_run)


def test_the_last_two_checkpoints_are_kept(saved_run: Path) -> None:
    assert [folder.name for folder in checkpoints(saved_run)] == ["step-00000008", "step-00000012"]
    files = {"model.safetensors", "optimizer.safetensors", "state.json"}
    assert all(
        {file.name for file in folder.iterdir()} == files for folder in checkpoints(saved_run)
    )


def test_resuming_a_finished_run_changes_nothing(copied_run: Path) -> None:
    before = (copied_run / "metrics.jsonl").read_bytes()
    weights = load_file(copied_run / "weights.safetensors")
    run(toy_recipe(copied_run), resume=True)
    assert (copied_run / "metrics.jsonl").read_bytes() == before
    again = load_file(copied_run / "weights.safetensors")
    assert all(torch.equal(weights[key], again[key]) for key in weights)


def test_half_written_checkpoints_are_ignored_and_cleared(copied_run: Path) -> None:
    half = copied_run / ".unfinished-step-00000016"
    half.mkdir()
    (half / "model.safetensors").write_bytes(b"half")
    run(toy_recipe(copied_run), resume=True)
    assert not half.exists()


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.safetensors", "state.json"])
@pytest.mark.parametrize("damage", ["truncated", "missing", "foreign"])
def test_a_damaged_checkpoint_names_the_file(copied_run: Path, name: str, damage: str) -> None:
    path = checkpoints(copied_run)[-1] / name
    content = path.read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(content[: len(content) // 2] if damage == "truncated" else b'{"a": 1}')
    with pytest.raises(ValueError, match=rf"{name}' is not a whole part of a training checkpoint"):
        run(toy_recipe(copied_run), resume=True)


def test_a_checkpoint_of_another_model_is_refused(copied_run: Path) -> None:
    path = checkpoints(copied_run)[-1] / "model.safetensors"
    path.write_bytes((path.parent / "optimizer.safetensors").read_bytes())
    with pytest.raises(ValueError, match="holds another model than mobileclip-tiny"):
        run(toy_recipe(copied_run), resume=True)


def test_a_recipe_that_leads_elsewhere_is_refused(copied_run: Path) -> None:
    recipe = replace(toy_recipe(copied_run), learning_rate=0.5)
    with pytest.raises(ValueError, match=r"learning_rate=0\.001, this run has learning_rate=0\.5"):
        run(recipe, resume=True)


def test_intervals_may_change_when_a_run_resumes(copied_run: Path) -> None:
    run(toy_recipe(copied_run, log_every=2, checkpoint_every=3, workers=1), resume=True)


def test_metrics_lose_later_steps_and_a_torn_line(tmp_path: Path) -> None:
    metrics = MetricsFile(tmp_path / "metrics.jsonl")
    for step in range(1, 5):
        metrics.append({"step": step, "loss": 0.5})
    with metrics.path.open("a") as file:
        file.write('{"step": 5, "lo')
    metrics.keep_until(3)
    assert [json.loads(line)["step"] for line in metrics.path.read_text().splitlines()] == [1, 2, 3]


def test_a_metrics_file_of_something_else_is_refused(tmp_path: Path) -> None:
    metrics = MetricsFile(tmp_path / "metrics.jsonl")
    metrics.path.write_text("epoch,loss\n1,2\n")
    with pytest.raises(ValueError, match=r"metrics\.jsonl' has a line that is not a step"):
        metrics.keep_until(3)


def test_random_states_survive_json() -> None:
    def draw() -> tuple[float, float, float]:
        return random.random(), float(np.random.standard_normal()), torch.rand(()).item()

    draw()
    state = json.loads(json.dumps(random_state()))
    expected = draw()
    set_random_state(state)
    assert draw() == expected
