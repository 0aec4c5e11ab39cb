"""`zoo transfer` compares three towers, keeps its figures, and says what is missing.

.venv/bin/pytest tests/zoo/test_transfer_command.py
"""

from __future__ import annotations

from pathlib import Path

import pytest
from coloured_shards import write_world

from zoo.cli import main
from zoo.eval.results import read_results

TOWERS = ("teacher with its head", "task-oriented", "task-agnostic", "labels-only")


@pytest.fixture(scope="module")
def flags(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("world")
    teacher = write_world(folder)
    return {
        "--pool": str(folder / "pool"),
        "--labelled": str(folder / "labelled"),
        "--teacher": teacher,
        "--validation": str(folder / "validation"),
        "--labels-per-class": "3",
        "--quota": "2",
        "--batch-size": "6",
        "--distillation-samples": "24",
        "--fine-tuning-samples": "12",
    }


def transfer(flags: dict[str, str], output: Path, **changes: str) -> int:
    changed = flags | {f"--{name}": value for name, value in changes.items()}
    results = str(output.with_suffix(".jsonl"))
    given = changed | {"--output": str(output), "--results": results}
    return main(["transfer", *(word for pair in given.items() for word in pair)])


def test_the_teacher_and_three_towers_are_evaluated_and_the_figures_kept(
    flags: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert transfer(flags, tmp_path / "out") == 0
    printed = capsys.readouterr().out
    lines = read_results(tmp_path / "out.jsonl")
    assert len(lines) == len(TOWERS)
    for tower, line in zip(TOWERS, lines, strict=True):
        assert line["model"].endswith(f", {tower}")
        assert line["protocol"]["images"] == 9
        assert f"{line['metrics']['acc1']:.2%}" in printed
    assert lines[0]["metrics"]["acc1"] > 0.8  # colours are easy, even for random features
    assert transfer(flags, tmp_path / "out") == 0
    again = read_results(tmp_path / "out.jsonl")[len(TOWERS) :]
    assert [line["metrics"] for line in again] == [line["metrics"] for line in lines]
    assert [line["weights_sha256"] for line in again] == [line["weights_sha256"] for line in lines]


def test_what_is_missing_is_said_in_one_sentence(
    flags: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert transfer(flags, tmp_path / "a", pool=flags["--labelled"]) == 2
    assert "There is no sidecar" in capsys.readouterr().err
    assert transfer(flags, tmp_path / "b", teacher=flags["--teacher"].replace("sage", "owl")) == 2
    assert "has no teacher 'owl'; it has sage" in capsys.readouterr().err
    assert transfer(flags, tmp_path / "c", quota="0") == 2
    assert "zoo: quota is 0; give at least 1." in capsys.readouterr().err
