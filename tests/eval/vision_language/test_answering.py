"""Answers come in batches, are kept as they come, and a killed run goes on as if it never stopped.

.venv/bin/pytest tests/eval/vision_language/test_answering.py
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from answering_models import LookUp, tiny_vision_language_model
from benchmark_folders import WRITERS

from zoo.eval.features import Progress
from zoo.eval.results import append_result, read_results
from zoo.eval.vision_language.answering import ask
from zoo.eval.vision_language.benchmarks import get_benchmark
from zoo.eval.vision_language.evaluate import BenchmarkResult, evaluate_benchmark
from zoo.eval.vision_language.predictions import PredictionFile
from zoo.eval.vision_language.question import Question
from zoo.models.fastvlm.vision_language_model import VisionLanguageModel


@pytest.fixture(scope="module")
def model() -> VisionLanguageModel:
    return tiny_vision_language_model()


@pytest.fixture
def pope(tmp_path: Path) -> Path:
    WRITERS["pope"](tmp_path / "pope")
    return tmp_path / "pope"


QUESTIONS = [
    Question(id="a", prompt="1"),
    Question(id="b", prompt="333"),
    Question(id="c", prompt="22"),
    Question(id="d", prompt="4", images=(b"picture",)),
]
TABLE = {"1": " one ", "333": "three", "22": "two", "4": "four"}


def evaluate(model: VisionLanguageModel, pope: Path, predictions: Path) -> BenchmarkResult:
    benchmark = replace(get_benchmark("pope"), max_new_tokens=3)
    questions = benchmark.questions(pope)
    return evaluate_benchmark(
        model, benchmark, questions, split="test", predictions=predictions, batch_size=2
    )


def test_questions_of_like_length_and_as_many_pictures_share_batches() -> None:
    model = LookUp(TABLE)
    progress: list[Progress] = []
    answers = ask(model, QUESTIONS, max_new_tokens=3, batch_size=2, progress=progress.append)
    assert answers == ["one", "three", "two", "four"]
    assert model.asked == [["4", "333"], ["22", "1"]]
    assert [(step.done, step.total) for step in progress] == [(2, 4), (4, 4)]


def test_a_half_done_batch_is_asked_whole_and_a_done_one_not_at_all() -> None:
    model = LookUp(TABLE)
    kept: dict[str, str] = {}
    known = {"d": "from before", "b": "too", "c": "kept"}
    answers = ask(
        model, QUESTIONS, max_new_tokens=3, batch_size=2, answered=known, keep=kept.update
    )
    assert answers == ["one", "too", "kept", "from before"]
    assert model.asked == [["22", "1"]] and set(kept) == {"c", "a"}


def test_two_questions_of_one_id_are_refused() -> None:
    with pytest.raises(ValueError, match="Two questions have the id 'a'"):
        ask(LookUp(TABLE), [QUESTIONS[0]] * 2, max_new_tokens=3)


def test_a_damaged_picture_is_named_with_its_question(
    model: VisionLanguageModel, tmp_path: Path
) -> None:
    (tmp_path / "bad.png").write_bytes(b"no picture")
    question = Question(id="q7", prompt="?", images=(tmp_path / "bad.png",))
    with pytest.raises(ValueError, match=r"q7 cannot be asked: .*bad\.png"):
        ask(model, [question], max_new_tokens=2)


def test_a_model_in_training_gets_its_modes_back(model: VisionLanguageModel) -> None:
    model.language_model.train()
    try:
        ask(model, QUESTIONS[:1], max_new_tokens=2)
        assert model.language_model.training and not model.projector.training
    finally:
        model.eval()


def test_an_evaluation_ends_in_a_record_with_its_protocol(
    model: VisionLanguageModel, pope: Path, tmp_path: Path
) -> None:
    result = evaluate(model, pope, tmp_path / "answers.jsonl")
    append_result(tmp_path / "results.jsonl", result.record())
    (record,) = read_results(tmp_path / "results.jsonl")
    assert (record["model"], record["dataset"]) == ("fastvlm-tiny", "pope")
    protocol = record["protocol"]
    assert protocol["questions"] == 6 and protocol["split"] == "test"
    assert protocol["harness"] == "LLaVA eval_pope.py" and protocol["aspect"] == "pad"
    assert protocol["prompt_example"].endswith("using a single word or phrase.")
    assert record["metrics"]["f1"] == result.figure


def test_a_run_that_was_cut_anywhere_ends_with_the_same_file(
    model: VisionLanguageModel, pope: Path, tmp_path: Path
) -> None:
    whole = evaluate(model, pope, tmp_path / "whole.jsonl")
    data = (tmp_path / "whole.jsonl").read_bytes()
    header = data.index(b"\n")
    for length in (3, header + 1, header + 30, len(data) - 40, len(data) - 1):
        cut = tmp_path / "cut.jsonl"
        cut.write_bytes(data[:length])
        again = evaluate(model, pope, cut)
        assert again.answers == whole.answers and again.metrics == whole.metrics
        assert cut.read_bytes() == data


def test_a_finished_file_is_read_without_asking(
    model: VisionLanguageModel, pope: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = evaluate(model, pope, tmp_path / "answers.jsonl")
    monkeypatch.setattr(VisionLanguageModel, "generate", None)
    assert evaluate(model, pope, tmp_path / "answers.jsonl").metrics == whole.metrics


def test_answers_of_another_run_are_refused(
    model: VisionLanguageModel, pope: Path, tmp_path: Path
) -> None:
    file = tmp_path / "answers.jsonl"
    evaluate(model, pope, file)
    identity: Mapping[str, object] = json.loads(file.read_text().splitlines()[0])
    for name, value in (("model", "another"), ("questions_sha256", "0"), ("dtype", "float16")):
        with pytest.raises(ValueError, match=f"holds answers for {name} = "):
            PredictionFile(file, {**identity, name: value})


@pytest.mark.parametrize("content", [b"not json", b"not json\n", b"[1]\n", b'{"id": "a"}\n'])
def test_a_file_of_something_else_is_left_alone(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "notes.txt"
    file.write_bytes(content)
    with pytest.raises(ValueError, match=r"notes\.txt"):
        PredictionFile(file, {"model": "fastvlm-tiny"})
    assert file.read_bytes() == content


def test_a_line_that_is_no_answer_is_named(tmp_path: Path) -> None:
    file = tmp_path / "answers.jsonl"
    PredictionFile(file, {"model": "m"}).add({"a": "red"})
    with file.open("a") as stream:
        stream.write('{"id": "b"}\n')
    with pytest.raises(ValueError, match="line 3 is no answer"):
        PredictionFile(file, {"model": "m"})


_ENDLESS = """
import itertools, sys
from zoo.eval.vision_language.predictions import PredictionFile
file = PredictionFile(sys.argv[1], {"model": "m"})
for number in itertools.count():
    file.add({f"{number}-{part}": "answer " * 50 for part in range(3)})
    print(number, flush=True)
"""


def test_what_was_added_before_a_kill_is_there(tmp_path: Path) -> None:
    file = tmp_path / "answers.jsonl"
    process = subprocess.Popen(
        [sys.executable, "-c", _ENDLESS, str(file)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    for line in process.stdout:
        if int(line) == 20:
            os.kill(process.pid, signal.SIGKILL)
            break
    process.wait()
    answers = PredictionFile(file, {"model": "m"}).answers
    assert {f"{number}-{part}" for number in range(21) for part in range(3)} <= set(answers)
    assert set(answers.values()) == {"answer " * 50}
