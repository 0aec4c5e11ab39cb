"""`zoo reinforce` adds, skips, reports and puts its sidecars where the flags say.

.venv/bin/pytest tests/zoo/test_reinforce_command.py
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from tiny_shards import make_samples

from zoo.cli import main
from zoo.models.load import load_model
from zoo.reinforced_data.shards.sample import Sample
from zoo.reinforced_data.shards.write import write_shards
from zoo.reinforced_data.sidecars.sidecar import Sidecar

SMALL = ("--augmentations", "2", "--captions", "1", "--batch-size", "8")


@pytest.fixture
def teacher(tmp_path: Path) -> str:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = load_model("mobileclip-tiny", weights=None)
    save_file(model.state_dict(), tmp_path / "tiny.safetensors")
    return f"zoo:mobileclip-tiny@{tmp_path / 'tiny.safetensors'}"


@pytest.fixture
def world(tmp_path: Path) -> Path:
    """Six samples, one of them without a usable picture."""
    samples = make_samples(6)
    samples[2] = Sample(key="broken", image=samples[2].image[:300], captions=("a cat",))
    write_shards(samples, tmp_path / "world")
    return tmp_path / "world"


def test_what_is_skipped_is_listed_and_a_teacher_is_added_later(
    teacher: str, world: Path, tmp_path: Path
) -> None:
    report, output = tmp_path / "skipped.jsonl", tmp_path / "sidecars"
    places = ("reinforce", str(world), "--output", str(output))
    skip = ("--on-error", "skip", "--report", str(report))
    assert main([*places, "--teacher", f"one={teacher}", *SMALL, *skip]) == 0
    (line,) = map(json.loads, report.read_text().splitlines())
    assert line["key"] == "broken" and "no usable picture" in line["reason"]
    assert main([*places, "--teacher", f"two={teacher}", "--extend"]) == 0
    sidecar = Sidecar.open(output / "00000.reinforced.safetensors")
    assert list(sidecar.teachers) == ["one", "two"]
    assert (sidecar.header.augmentations, sidecar.header.captions) == (2, 1)


def test_settings_beside_extend_are_refused(
    teacher: str, world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["reinforce", str(world), "--teacher", teacher, "--extend", *SMALL]) == 2
    assert "--extend takes augmentations, captions and seed" in capsys.readouterr().err


def test_the_engine_is_compared_with_the_bare_teacher(
    teacher: str, world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = tmp_path / "results.jsonl"
    arguments = ["--shards", str(world), "--model", "mobileclip-tiny", "--results", str(results)]
    few = ["--samples", "4", "--augmentations", "2", "--rounds", "1", "--workers", "0"]
    assert main(["bench", "engine", *arguments, *few]) == 0
    assert "engine, 0 workers" in capsys.readouterr().out
    bare, engine = map(json.loads, results.read_text().splitlines())
    assert bare["metrics"]["of_bare"] == 1 and engine["metrics"]["of_bare"] > 0
    assert engine["protocol"]["way"] == "engine, 0 workers"
