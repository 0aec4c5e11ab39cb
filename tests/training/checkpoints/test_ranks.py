"""Checkpoints of one and of two processes, DDP and FSDP2, continue in each other's place.

Run: pytest -m "slow or not slow" tests/training/checkpoints/test_ranks.py
"""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from run_folders import Shown, gone_back, run_all, same_weights, shard_recipe
from safetensors.torch import load_file
from task_runs import read_metrics

from zoo.training.checkpoints.folders import checkpoints
from zoo.training.parallel.launch import run_in_processes


def losses(output: Path) -> list[float]:
    return [line["loss"] for line in read_metrics(output)]


def global_batches(per_rank: list[Shown], run: str) -> list[list[int]]:
    """What all processes together showed, step by step."""
    steps = zip(*(shown[run] for shown in per_rank), strict=True)
    return [list(itertools.chain(*parts)) for parts in steps]


def random_states(folder: Path) -> list[Any]:
    return json.loads((folder / "state.json").read_text())["random"]


@pytest.mark.slow
def test_runs_continue_with_other_numbers_of_processes_and_other_divisions(tmp_path: Path) -> None:
    recipe = shard_recipe(
        tmp_path / "shards",
        tmp_path / "alone",
        samples_seen=48,
        checkpoint_every=3,
        synchronize_batch_norm=True,
        ema_decay=0.9,
    )
    whole = run_all([recipe])["alone"]
    ddp = replace(recipe, output=tmp_path / "ddp")
    fsdp = replace(recipe, output=tmp_path / "fsdp", parallel="fsdp")
    two = replace(recipe, output=gone_back(recipe.output, tmp_path / "one-two"))
    first = run_in_processes(run_all, 2, [ddp, fsdp, two])
    again = {
        name: replace(before, output=gone_back(before.output, tmp_path / name))
        for name, before in (("ddp-ddp", ddp), ("fsdp-fsdp", fsdp))
    }
    crossed = [
        replace(fsdp, output=gone_back(ddp.output, tmp_path / "ddp-fsdp")),
        replace(ddp, output=gone_back(fsdp.output, tmp_path / "fsdp-ddp")),
    ]
    second = run_in_processes(run_all, 2, [*again.values(), *crossed])
    last = run_all([replace(recipe, output=gone_back(fsdp.output, tmp_path / "fsdp-one"))])

    # The same processes go on bit for bit.
    for before, after in ((ddp, again["ddp-ddp"]), (fsdp, again["fsdp-fsdp"])):
        assert read_metrics(after.output) == read_metrics(before.output)
        assert same_weights(after.output, before.output)
    # Others go on with the same samples, in the same order, to the same losses but for rounding.
    assert global_batches(first, "ddp") == whole
    for per_rank, name in (
        (first, "one-two"),
        (second, "ddp-fsdp"),
        (second, "fsdp-ddp"),
        ([last], "fsdp-one"),
    ):
        assert global_batches(per_rank, name) == whole[3:], name
        assert losses(tmp_path / name) == pytest.approx(losses(recipe.output), rel=1e-4), name
    # Files are whole tensors, whoever wrote them.
    folders = [checkpoints(run.output)[0] for run in (recipe, ddp, fsdp)]
    for name in ("model.safetensors", "optimizer.safetensors", "average.safetensors"):
        alone, *others = ({k: v.shape for k, v in load_file(f / name).items()} for f in folders)
        assert others == [alone, alone]
    # Each process has its own random states, also one that there was not before.
    assert [len(random_states(folder)) for folder in folders] == [1, 2, 2]
    for output in (ddp.output, two.output):
        own, other = random_states(checkpoints(output)[-1])
        assert own["torch"] != other["torch"]
