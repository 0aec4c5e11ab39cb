"""A run that was killed continues bit for bit.

Run: pytest tests/training/checkpoints/test_resume.py
"""

from __future__ import annotations

import json
import random
import shutil
import time
from dataclasses import replace
from multiprocessing.process import BaseProcess
from pathlib import Path

import numpy as np
import pytest
import torch
from run_folders import resume, same_weights, shard_recipe, start
from safetensors.torch import load_file
from task_runs import Interrupted, read_metrics, run
from toy_batches import toy_recipe

from zoo.training.checkpoints.folders import checkpoints
from zoo.training.checkpoints.random_state import random_state, seed_new_rank, set_random_state
from zoo.training.checkpoints.same_recipe import CONTINUING_FIELDS, EXACT_FIELDS


def kill_after_step(process: BaseProcess, output: Path, step: int) -> None:
    metrics = output / "metrics.jsonl"
    deadline = time.monotonic() + 120
    while not (metrics.exists() and metrics.read_bytes().count(b"\n") >= step):
        assert process.is_alive() and time.monotonic() < deadline
        time.sleep(0.001)
    process.kill()
    process.join()


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
    recipe = shard_recipe(
        tmp_path / "shards", tmp_path / "undisturbed", samples_seen=160, channels_last=True
    )
    killed = replace(recipe, output=tmp_path / "killed")
    process = start(killed)
    resume(recipe)
    kill_after_step(process, killed.output, step=10)  # between two checkpoints
    interrupted = (killed.output / "metrics.jsonl").read_bytes().count(b"\n")
    assert 10 <= interrupted < 20, "the run was not killed half-way"
    assert not (killed.output / "weights.safetensors").exists()
    resume(killed)
    metrics = read_metrics(recipe.output)
    assert [line["step"] for line in metrics] == list(range(1, 21))
    assert read_metrics(killed.output) == metrics
    assert same_weights(killed.output, recipe.output)


@pytest.mark.parametrize("stop_after", [2, 5, 10])
def test_a_run_stopped_before_or_after_a_checkpoint_loses_no_step(
    stop_after: int, saved_run: Path, tmp_path: Path
) -> None:
    recipe = toy_recipe(tmp_path)
    with pytest.raises(Interrupted):
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


def test_a_recipe_that_leads_elsewhere_is_refused(copied_run: Path) -> None:
    recipe = replace(toy_recipe(copied_run), learning_rate=0.5)
    with pytest.raises(ValueError, match=r"learning_rate=0\.001, this run has learning_rate=0\.5"):
        run(recipe, resume=True)


def test_fields_that_keep_every_bit_may_change_when_a_run_resumes(
    saved_run: Path, tmp_path: Path
) -> None:
    recipe = toy_recipe(tmp_path)
    with pytest.raises(Interrupted):
        run(recipe, stop_after=5)
    changes = {"cache_folder": Path("elsewhere"), "workers": 1, "checkpoint_every": 3}
    assert changes.keys() | {"output", "log_every", "wandb_project"} == set(EXACT_FIELDS)
    run(replace(recipe, **changes), resume=True)
    assert read_metrics(tmp_path) == read_metrics(saved_run)


def test_fields_of_how_a_step_is_computed_may_change_when_a_run_resumes(copied_run: Path) -> None:
    shutil.rmtree(checkpoints(copied_run)[-1])
    changes = {"accumulation": 2, "activation_checkpointing": True, "channels_last": True}
    assert changes.keys() <= set(CONTINUING_FIELDS)
    run(toy_recipe(copied_run, log_every=2, **changes), resume=True)
    assert [line["step"] for line in read_metrics(copied_run)] == [*range(1, 9), 10, 12]


def test_random_states_survive_json() -> None:
    def draw() -> tuple[float, float, float]:
        return random.random(), float(np.random.standard_normal()), torch.rand(()).item()

    draw()
    state = json.loads(json.dumps(random_state()))
    expected = draw()
    set_random_state(state)
    assert draw() == expected


def test_a_new_rank_draws_its_own_numbers_which_the_seed_decides() -> None:
    def draw(seed: int, rank: int, step: int) -> tuple[float, float, float]:
        seed_new_rank(seed, rank, step)
        return random.random(), float(np.random.standard_normal()), torch.rand(()).item()

    assert draw(0, 1, 8) == draw(0, 1, 8)
    assert len({draw(0, 1, 8), draw(0, 2, 8), draw(0, 1, 9), draw(1, 1, 8)}) == 4
