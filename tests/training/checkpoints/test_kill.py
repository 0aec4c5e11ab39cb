"""Runs on shards that are killed again and again end as an undisturbed one, bit for bit.

Run: pytest -m "slow or not slow" tests/training/checkpoints/test_kill.py
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from run_folders import kill_and_resume, resume, same_weights, shard_recipe
from task_runs import read_metrics

from zoo.training.checkpoints.folders import checkpoints

KILLS = 6


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Sums depend on how many threads share them."""
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("workers", "checkpoint_every"),
    [(0, 1), (0, 5), (2, 3)],
    ids=["always while writing", "rarely while writing", "with workers"],
)
def test_a_run_killed_again_and_again_equals_an_undisturbed_one(
    workers: int, checkpoint_every: int, tmp_path: Path
) -> None:
    undisturbed = shard_recipe(
        tmp_path / "shards",
        tmp_path / "undisturbed",
        samples_seen=160,
        checkpoint_every=checkpoint_every,
        ema_decay=0.9,
    )
    resume(undisturbed)
    killed = replace(undisturbed, output=tmp_path / "killed", workers=workers)
    died = kill_and_resume(killed, KILLS, random.Random(workers))
    assert died >= KILLS // 2, "the run ended before it could be killed"
    assert read_metrics(killed.output) == read_metrics(undisturbed.output)
    assert same_weights(killed.output, undisturbed.output)
    assert not list(killed.output.glob(".unfinished-*"))
    names = [folder.name for folder in checkpoints(undisturbed.output)]
    assert [folder.name for folder in checkpoints(killed.output)] == names
