"""Two processes train as one process with their batch does.

Run: pytest tests/training/parallel/test_two_processes.py
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from safetensors.torch import load_file
from shared_training import train_in_turn
from tiny_shards import make_samples

from zoo.reinforced_data.shards.write import write_shards
from zoo.training.parallel.launch import run_in_processes

STEPS = 6
# Adam turns what rounding leaves of a gradient of 0 into whole steps: at a low rate, small ones.
COMMON: dict[str, Any] = {
    "samples_seen": STEPS * 8,
    "checkpoint_every": STEPS,
    "learning_rate": 2e-4,
    "warmup_samples": 0,
}
SYNCHRONIZED = COMMON | {"synchronize_batch_norm": True}
VARIANTS: dict[str, dict[str, Any]] = {
    "ddp": SYNCHRONIZED | {"ema_decay": 0.5},
    "fsdp": SYNCHRONIZED | {"ema_decay": 0.5, "parallel": "fsdp", "activation_checkpointing": True},
}
IN_PARTS: dict[str, dict[str, Any]] = {
    f"{name} in parts": COMMON
    | {"samples_seen": 8, "accumulation": 2, "channels_last": True, "parallel": name}
    for name in ("ddp", "fsdp")
}


class Runs(NamedTuple):
    one: dict[str, list[dict[str, float]]]
    two: list[dict[str, list[dict[str, float]]]]
    folder: Path


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    folder = tmp_path_factory.mktemp("runs")
    one = train_in_turn(folder / "one", {"ddp": VARIANTS["ddp"]})
    two = run_in_processes(train_in_turn, 2, folder / "two", VARIANTS | IN_PARTS)
    return Runs(one, two, folder)


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_losses_are_those_of_one_process(runs: Runs, variant: str) -> None:
    alone, shared = runs.one["ddp"], runs.two[0][variant]
    assert len(shared) == STEPS
    for a, b in zip(alone, shared, strict=True):
        assert abs(a["loss"] - b["loss"]) <= 1e-5
        assert b["gradient_norm"] == pytest.approx(a["gradient_norm"], rel=1e-4, abs=1e-4)


@pytest.mark.parametrize("file", ["weights.safetensors", "weights.ema.safetensors"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_whole_weights_with_our_keys_are_written(runs: Runs, variant: str, file: str) -> None:
    alone = load_file(runs.folder / "one" / "ddp" / file)
    shared = load_file(runs.folder / "two" / variant / file)
    assert {k: v.shape for k, v in shared.items()} == {k: v.shape for k, v in alone.items()}
    for name, value in alone.items():
        if "running" in name or "num_batches" in name:
            torch.testing.assert_close(shared[name], value, rtol=1e-2, atol=1e-3)
    assert abs(shared["logit_scale"] - alone["logit_scale"]) < 1e-5


def test_only_the_main_process_tells_of_progress_and_evaluates(runs: Runs) -> None:
    main, other = runs.two
    assert all(not lines for lines in other.values())
    assert main["fsdp"][-1]["eval.in_training_mode"] == 0


def test_accumulation_makes_the_same_steps_in_copied_and_divided_models(runs: Runs) -> None:
    copied, divided = (runs.two[0][name] for name in IN_PARTS)
    for a, b in zip(copied, divided, strict=True):
        assert abs(a["loss"] - b["loss"]) <= 1e-5
        assert b["gradient_norm"] == pytest.approx(a["gradient_norm"], rel=1e-4)


def torchrun(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `zoo train` in two processes as README says."""
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    return subprocess.run(
        [sys.executable, *launch, "-m", "zoo", "train", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )


@pytest.mark.slow
def test_an_error_ends_all_processes_with_one_sentence(tmp_path: Path) -> None:
    write_shards(make_samples(), tmp_path / "shards", samples_per_shard=6)
    (shard := tmp_path / "shards" / "00001.tar").write_bytes(shard.read_bytes()[:700])
    flags = ["--data", str(tmp_path / "shards"), "--output", str(tmp_path / "run")]
    done = torchrun(
        "tiny-plain", *flags, "--batch-size", "4", "--samples-seen", "40", "--warmup-samples", "0"
    )
    assert done.returncode != 0
    assert sum(line.startswith("zoo: ") for line in done.stderr.splitlines()) == 1, done.stderr


@pytest.mark.slow
def test_a_batch_that_the_processes_cannot_share_is_one_sentence(tmp_path: Path) -> None:
    write_shards(make_samples(), tmp_path / "shards", samples_per_shard=6)
    flags = ["--data", str(tmp_path / "shards"), "--output", str(tmp_path / "run")]
    flags += ["--batch-size", "5", "--samples-seen", "5", "--warmup-samples", "0"]
    done = torchrun("tiny-plain", *flags)
    sentences = [line for line in done.stderr.splitlines() if line.startswith("zoo: ")]
    assert len(sentences) == 1 and "multiple of 2" in sentences[0], done.stderr
    done = torchrun("tiny-plain", *flags, "--learning-rate", "-1")
    sentences = [line for line in done.stderr.splitlines() if line.startswith("zoo: ")]
    assert len(sentences) == 1 and "learning_rate is -1" in sentences[0], done.stderr
