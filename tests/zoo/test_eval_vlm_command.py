"""`zoo eval vlm` asks a benchmark's questions, goes on after a stop, and says what is wrong.

.venv/bin/pytest tests/zoo/test_eval_vlm_command.py
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from benchmark_folders import WRITERS, picture, text

from zoo.cli import main
from zoo.commands.eval_vlm import metrics_table
from zoo.eval.results import read_results
from zoo.models.checkpoint import save_weights
from zoo.models.load import load_model

TINY = ["--model", "fastvlm-tiny", "--image-size", "64", "--device", "cpu", "--dtype", "float32"]


@pytest.fixture(autouse=True)
def inside_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def tiny_weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("weights") / "weights.safetensors"
    with torch.random.fork_rng():
        torch.manual_seed(0)
        save_weights(load_model("fastvlm-tiny", weights=None, reparameterize=False), path)
    return str(path)


def run(*arguments: str) -> int:
    return main(["eval", "vlm", *arguments])


def test_a_benchmark_gives_a_table_a_record_and_the_answers(
    tiny_weights: str, capsys: pytest.CaptureFixture[str]
) -> None:
    WRITERS["chartqa"](Path("charts"))
    flags = ["chartqa", "--data", "charts", *TINY, "--weights", tiny_weights]
    assert run(*flags) == 0
    shown = capsys.readouterr().out
    assert "2 answers in answers/fastvlm-tiny-chartqa-test.jsonl" in shown
    assert "as lmms-eval chartqa" in shown and "augmented" in shown
    file = Path("answers/fastvlm-tiny-chartqa-test.jsonl")
    header, *answers = map(json.loads, file.read_text().splitlines())
    assert header["benchmark"] == "chartqa"
    assert {answer["id"] for answer in answers} == {"human/0", "augmented/0"}
    before = file.read_bytes()
    assert run(*flags) == 0
    assert file.read_bytes() == before
    first, second = read_results("results.jsonl")
    assert first["metrics"] == second["metrics"]
    assert set(first["metrics"]) == {"accuracy", "accuracy/human", "accuracy/augmented"}


def test_a_split_of_a_server_gets_answers_and_no_figures(
    tiny_weights: str, capsys: pytest.CaptureFixture[str]
) -> None:
    WRITERS["docvqa"](Path("docs"))
    flags = ["--data", "docs", *TINY, "--weights", tiny_weights, "--output", "mine.jsonl"]
    assert run("docvqa", *flags, "--split", "test") == 0
    assert "on a server" in capsys.readouterr().out
    assert Path("mine.jsonl").is_file() and not Path("results.jsonl").exists()
    assert run("docvqa", *flags) == 2
    assert "mine.jsonl holds answers for" in capsys.readouterr().err


def test_own_questions_stand_beside_the_majority_answer(
    tiny_weights: str, capsys: pytest.CaptureFixture[str]
) -> None:
    turns = [{"from": "human", "value": "Colour?"}, {"from": "gpt", "value": "red"}]
    text(Path("own.json"), [{"image": "a.png", "kind": "colour", "conversations": turns}] * 2)
    picture(Path("pictures/a.png"))
    flags = ["--data", "own.json", "--images", "pictures", *TINY, "--weights", tiny_weights]
    flags = [*flags, "--dtype", "int8", "--limit", "1"]
    assert run("questions", *flags, "--training", "own.json", "--name", "mine") == 0
    shown = capsys.readouterr().out
    assert "majority answers of the training questions" in shown and "100.00%" in shown
    (record,) = read_results("results.jsonl")
    assert (record["model"], record["metrics"]["majority"]) == ("mine", 1.0)
    assert (record["protocol"]["dtype"], record["protocol"]["questions"]) == ("int8", 1)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["gqq", "--data", "x"], "did you mean gqa"),
        (["gqa", "--data", "nowhere"], "There is no file 'nowhere/testdev_balanced"),
        (["gqa", "--data", "x", "--split", "train"], "no split 'train'"),
        (["gqa", "--data", "x", "--training", "y"], "belong to 'questions'"),
        (["questions", "--data", "nowhere.json"], "There is no file 'nowhere.json'"),
        (["questions", "--data", "nowhere"], "nowhere does not exist"),
    ],
)
def test_what_is_wrong_is_one_sentence_before_a_model_is_loaded(
    arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*arguments) == 2
    error = capsys.readouterr().err
    assert sentence in error and error.count("\n") == 1


def test_the_table_has_a_column_a_measure_and_a_row_a_kind() -> None:
    columns, rows = metrics_table({"f1": 0.5, "f1/random": 0.25, "yes_ratio": 1.0})
    assert columns == ["f1", "yes_ratio"]
    assert rows == [["all", "50.00%", "100.00%"], ["random", "25.00%", ""]]
