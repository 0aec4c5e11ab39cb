"""Conversations become questions, and a model is compared with always guessing the same.

.venv/bin/pytest tests/eval/vision_language/test_own_questions.py
"""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
from answering_models import LookUp, tiny_vision_language_model
from benchmark_folders import picture, text

from zoo.eval.vision_language.conversation_files import read_questions
from zoo.eval.vision_language.own_questions import evaluate_questions, questions_benchmark
from zoo.eval.vision_language.question import Question


def turns(*pairs: tuple[str, str, str]) -> list[dict[str, str]]:
    """Questions with kind and answer."""
    return [
        turn
        for question, kind, answer in pairs
        for turn in (
            {"from": "human", "value": question, "kind": kind},
            {"from": "gpt", "value": answer},
        )
    ]


SAMPLES: list[dict[str, Any]] = [
    {
        "id": "x",
        "image": "0.png",
        "conversations": turns(
            ("<image>\nWhat colour?", "colour", "Red."), ("How many?", "count", "2")
        ),
    },
    {"image": ["0.png", "1.png"], "kind": "count"}
    | {"conversations": [{"from": "human", "value": "Both?"}, {"from": "gpt", "value": "3"}]},
    {"conversations": turns(("Why?", "other", "because"))},
]


@pytest.mark.parametrize("suffix", ["json", "jsonl"])
def test_every_pair_of_a_file_is_a_question_about_its_pictures(suffix: str, tmp_path: Path) -> None:
    file = tmp_path / f"mix.{suffix}"
    text(file, SAMPLES, lines=suffix == "jsonl")
    questions = read_questions(file, images=tmp_path / "pictures")
    folder = tmp_path / "pictures"
    assert [(one.prompt, one.kind, one.answers, one.images) for one in questions] == [
        ("<image>\nWhat colour?", "colour", ("Red.",), (folder / "0.png",)),
        ("How many?", "count", ("2",), (folder / "0.png",)),
        ("Both?", "count", ("3",), (folder / "0.png", folder / "1.png")),
        ("Why?", "other", ("because",), ()),
    ]
    assert len({one.id for one in questions}) == 4


def test_shards_hold_the_same_questions_and_their_pictures(tmp_path: Path) -> None:
    picture(tmp_path / "0.png")
    picture(tmp_path / "1.png", seed=1)
    first, second = ((tmp_path / f"{number}.png").read_bytes() for number in (0, 1))
    members = {
        "a.json": json.dumps(SAMPLES[0]).encode(),
        "a.png": first,
        "b.1.png": second,
        "b.0.png": first,
        "b.json": json.dumps(SAMPLES[1]).encode(),
        "c.json": json.dumps(SAMPLES[2]).encode(),
    }
    with tarfile.open(tmp_path / "00000.tar", "w") as archive:
        for name, data in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    questions = read_questions(tmp_path)
    assert [one.images for one in questions] == [(first,), (first,), (first, second), ()]
    assert [one.answers for one in questions] == [("Red.",), ("2",), ("3",), ("because",)]
    model = tiny_vision_language_model()
    result = evaluate_questions(model, questions, max_new_tokens=3)
    assert len(result.answers) == 4 and len(set(result.answers)) > 1


@pytest.mark.parametrize(
    ("sample", "reason"),
    [
        ({"conversations": []}, "no 'conversations'"),
        ({"text": "?"}, "no 'conversations'"),
        ({"conversations": turns(("?", "", "!"))[:1]}, "no 'conversations'"),
        ({"conversations": turns(("?", "", "!"))[::-1]}, "not human's and gpt's"),
        (["?"], "no 'conversations'"),
    ],
)
def test_a_sample_of_another_form_is_named(sample: Any, reason: str, tmp_path: Path) -> None:
    file = tmp_path / "mix.json"
    text(file, [SAMPLES[0], sample])
    with pytest.raises(ValueError, match=reason) as error:
        read_questions(file)
    assert f"{file}, sample 1" in str(error.value)


def colours(*answers: str) -> list[Question]:
    return [
        Question(id=str(number), prompt=str(number), answers=(answer,), kind="colour")
        for number, answer in enumerate(answers)
    ]


def test_accuracy_stands_beside_the_most_frequent_answer() -> None:
    questions = [
        *colours("red", "red", "blue", "green"),
        Question(id="n", prompt="n", answers=("Two",), kind="count"),
    ]
    model = LookUp({"0": "Red!", "1": "blue", "2": "blue", "3": "grey", "n": "two"})
    result = evaluate_questions(model, questions)
    assert result.majority_from == "evaluation"
    assert result.metrics == pytest.approx(
        {
            "accuracy": 3 / 5,
            "majority": 2 / 5,
            "accuracy/colour": 2 / 4,
            "majority/colour": 2 / 4,
            "accuracy/count": 1.0,
            "majority/count": 1.0,
        }
    )
    assert [kind.majority_answer for kind in result.kinds] == ["red", "two"]


def test_the_most_frequent_answer_may_be_counted_in_training_questions() -> None:
    model = LookUp(dict.fromkeys("0123", "blue"))
    result = evaluate_questions(
        model, colours("red", "red", "blue", "green"), training_questions=colours("blue", "blue")
    )
    assert result.majority_from == "training"
    assert (result.overall.accuracy, result.overall.majority) == (0.25, 0.25)


def test_as_a_benchmark_it_gives_the_same_figures(tmp_path: Path) -> None:
    text(tmp_path / "mix.json", [SAMPLES[2]] * 2)
    benchmark = questions_benchmark(training_questions=colours("blue"))
    questions = benchmark.questions(tmp_path / "mix.json")
    metrics = benchmark.metric(questions, ["Because", "no"])
    assert metrics == {
        "accuracy": 0.5,
        "majority": 0.0,
        "accuracy/other": 0.5,
        "majority/other": 0.0,
    }
    assert "training" in benchmark.harness
