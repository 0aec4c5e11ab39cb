"""`zoo continual` trains a plan, evaluates every model on every test and draws the matrix.

Run: pytest tests/zoo/test_continual_command.py
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from time_steps import NAMES, write_plan

from zoo.cli import main
from zoo.eval.results import read_results

FLAGS = ["--batch-size", "4", "--samples-seen", "8", "--warmup-samples", "0", "--method", "equal"]


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_plan(tmp_path_factory.mktemp("time"))


@pytest.fixture(scope="module")
def run(plan: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "equal"
    assert main(["continual", str(plan), "--folder", str(folder), *FLAGS]) == 0
    return folder


def test_every_model_is_evaluated_on_every_test(run: Path) -> None:
    *cells, summary = read_results(run / "results.jsonl")
    asked = [(cell["model"], Path(cell["dataset"]).parent.name) for cell in cells]
    assert asked == [(f"equal {model}", test) for model in NAMES for test in NAMES]
    scores = [cell["metrics"]["mean_recall@1"] for cell in cells]
    assert summary["metrics"]["in_domain"] == pytest.approx(sum(scores[::4]) / 3)
    assert summary["protocol"]["method"] == "equal"
    assert len({cell["weights_sha256"] for cell in cells}) == len(NAMES)
    assert "<svg" in (run / "report.html").read_text()


def test_a_resumed_run_is_not_evaluated_twice(
    run: Path, plan: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = read_results(run / "results.jsonl")
    assert main(["continual", str(plan), "--folder", str(run), "--resume", *FLAGS]) == 0
    assert read_results(run / "results.jsonl") == before
    assert "after three: one " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--data", "elsewhere"], "The plan and --folder say where things are; leave out --data."),
        (["--output", "elsewhere"], "leave out --output."),
        (["--buffer", "0"], "The buffer is 0"),
    ],
)
def test_flags_that_cannot_work_are_one_sentence(
    plan: Path, tmp_path: Path, arguments: list[str], complaint: str, capsys: pytest.CaptureFixture
) -> None:
    folder = tmp_path / "run"
    assert main(["continual", str(plan), "--folder", str(folder), *FLAGS, *arguments]) == 2
    assert complaint in capsys.readouterr().err
    assert not folder.exists()


def test_tests_without_captions_or_named_classes_are_refused_before_training(
    plan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = json.loads(plan.read_text())
    content["steps"][1]["validation"] = "nowhere"
    wrong = plan.with_name("wrong.json")
    wrong.write_text(json.dumps(content))
    folder = tmp_path / "run"
    assert main(["continual", str(wrong), "--folder", str(folder), *FLAGS]) == 2
    assert "nowhere" in capsys.readouterr().err
    assert not folder.exists()


def test_the_command_without_a_plan_says_how_it_is_used(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["continual"]) == 0
    assert "usage: zoo continual PLAN.json" in capsys.readouterr().out
