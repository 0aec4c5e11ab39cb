"""The official files of every benchmark become the questions that the harness asks.

.venv/bin/pytest tests/eval/vision_language/test_benchmarks.py
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from benchmark_folders import WRITERS
from PIL import Image

from zoo.eval.vision_language.benchmarks import BENCHMARKS, Benchmark, get_benchmark
from zoo.eval.vision_language.choice_files import mmmu_question
from zoo.models.card import VisionLanguageCard
from zoo.models.registry import get_card_of

SINGLE = "\nAnswer the question using a single word or phrase."
LETTER = "\nAnswer with the option's letter from the given choices directly."
EXPECTED = {
    # benchmark: (id, prompt, answers, kind) of the first question
    "gqa": ("201", f"Is it red?{SINGLE}", ("yes",), "verify"),
    "textvqa": (
        "34602",
        f"What brand is it?{SINGLE}",
        ("nous les gosses",) * 8 + ("dakota",) * 2,
        "",
    ),
    "textvqa-ocr": (
        "34602",
        f"what BRAND is it?\nReference OCR token: DAKOTA, 7{SINGLE}",
        ("nous les gosses",) * 8 + ("dakota",) * 2,
        "",
    ),
    "pope": (
        "adversarial/1",
        f"Is there a adversarial 1 in the image?{SINGLE}",
        ("yes",),
        "adversarial",
    ),
    "vqav2": ("42000", f"Where?{SINGLE}", ("net",) * 10, "other"),
    "docvqa": ("49153", f"Who?{SINGLE}", ("ITC", "itc ltd"), ""),
    "infovqa": ("7", f"How many?{SINGLE}", ("12%",), ""),
    "chartqa": ("human/0", "Which?\nAnswer the question with a single word.", ("14",), "human"),
    "scienceqa": (
        "5",
        f"Context: Look.\nWhich?\nA. iron\nB. wood{LETTER}",
        ("B",),
        "natural",
    ),
    "seed": (
        "101",
        f"How many?\nA. option a\nB. option b\nC. option c\nD. option d{LETTER}",
        ("C",),
        "Scene Understanding",
    ),
    "ai2d": ("0.png-0", f"What is A?\nA. ears\nB. nose{LETTER}", ("B",), ""),
}
COUNTS = {"gqa": 2, "pope": 6, "chartqa": 2, "ai2d": 2}


@pytest.mark.parametrize("name", WRITERS)
def test_a_benchmark_reads_its_files(name: str, tmp_path: Path) -> None:
    WRITERS[name](tmp_path)
    questions = get_benchmark(name).questions(tmp_path)
    first = questions[0]
    assert (first.id, first.prompt, first.answers, first.kind) == EXPECTED[name]
    assert len(questions) == COUNTS.get(name, 1)
    assert all(Image.open(str(image)).size for image in first.images)


@pytest.mark.parametrize("name", WRITERS)
def test_right_answers_score_one_and_wrong_ones_zero(name: str, tmp_path: Path) -> None:
    WRITERS[name](tmp_path)
    benchmark = get_benchmark(name)
    questions = benchmark.questions(tmp_path)
    right = [(question.answers or ("",))[0] for question in questions]
    assert benchmark.metric(questions, right)[benchmark.headline] == pytest.approx(1.0)
    wrong = ["no" if answer == "yes" else "Zebra" for answer in right]
    wrong = ["yes" if answer == "no" else new for answer, new in zip(right, wrong, strict=True)]
    assert benchmark.metric(questions, wrong)[benchmark.headline] == pytest.approx(0.0)


@pytest.mark.parametrize("name", WRITERS)
def test_a_missing_file_is_named_with_where_to_get_it(name: str, tmp_path: Path) -> None:
    benchmark = get_benchmark(name)
    with pytest.raises(FileNotFoundError) as error:
        benchmark.questions(tmp_path)
    assert str(tmp_path) in str(error.value) and benchmark.source in str(error.value)


@pytest.mark.parametrize("name", WRITERS)
def test_a_missing_picture_is_named_before_the_work(name: str, tmp_path: Path) -> None:
    WRITERS[name](tmp_path)
    question = get_benchmark(name).questions(tmp_path)[0]
    Path(str(question.images[0])).unlink()
    with pytest.raises(FileNotFoundError, match=r"of \d+ pictures are missing") as error:
        get_benchmark(name).questions(tmp_path)
    assert str(question.images[0]) in str(error.value)


@pytest.mark.parametrize("name", ["vqav2", "docvqa"])
def test_a_split_of_a_server_has_no_answers(name: str, tmp_path: Path) -> None:
    WRITERS[name](tmp_path)
    benchmark = get_benchmark(name)
    questions = benchmark.questions(tmp_path, split=benchmark.splits[1])
    assert [question.answers for question in questions] == [None]
    assert questions[0].prompt == EXPECTED[name][1]


MMMU_ROW: dict[str, Any] = {
    "id": "validation_Art_1",
    "question": "<image 2> What follows <image 1>?",
    "options": "['<image 1>', 'two']",
    "question_type": "multiple-choice",
    "answer": "B",
    "image_1": {"bytes": b"one"},
    "image_2": {"bytes": b"two"},
}


def test_mmmu_asks_both_types_of_question() -> None:
    choice = mmmu_question(MMMU_ROW, "Art")
    assert choice.prompt == (f"<image 2> What follows <image 1>?\nA. <image 1>\nB. two\n{LETTER}")
    assert choice.images == (b"one", b"two") and choice.options == ("<image 1>", "two")
    free = mmmu_question(
        MMMU_ROW | {"question_type": "open", "options": "[]", "answer": "['1', '2']"}, "Art"
    )
    assert free.prompt == f"<image 2> What follows <image 1>?\n{SINGLE}"
    assert free.answers == ("1", "2") and not free.options
    assert mmmu_question(MMMU_ROW | {"answer": "?"}, "Art").answers is None


def test_mmmu_reads_parquet(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    buffer = io.BytesIO()
    Image.new("RGB", (9, 7)).save(buffer, "PNG")
    picture = {"bytes": buffer.getvalue(), "path": None}
    row = MMMU_ROW | {"image_1": picture, "image_2": picture}
    (tmp_path / "Art").mkdir()
    file = tmp_path / "Art" / "validation-00000-of-00001.parquet"
    parquet.write_table(pyarrow.Table.from_pylist([row]), file)
    (question,) = get_benchmark("mmmu").questions(tmp_path)
    assert question.kind == "Art" and question.images == (picture["bytes"],) * 2


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ('{"201": {"imageId": "n1", "question": "?"}}', "no 'answer'"),
        ('{"201": ', "is not JSON"),
        ("[1]", "is not an object"),
    ],
)
def test_a_file_of_another_form_is_refused(content: str, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "testdev_balanced_questions.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=reason) as error:
        get_benchmark("gqa").questions(tmp_path)
    assert str(path) in str(error.value)


def test_a_limit_takes_questions_from_all_parts(tmp_path: Path) -> None:
    WRITERS["pope"](tmp_path)
    kinds = [question.kind for question in get_benchmark("pope").questions(tmp_path, limit=3)]
    assert kinds == ["adversarial", "popular", "random"]
    with pytest.raises(ValueError, match="at least 1"):
        get_benchmark("pope").questions(tmp_path, limit=0)


def test_unknown_names_and_splits_are_answered_with_known_ones(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="did you mean textvqa"):
        get_benchmark("text-vqa")
    with pytest.raises(ValueError, match="give testdev or val"):
        get_benchmark("GQA").questions(tmp_path, split="train")


@pytest.mark.parametrize("benchmark", BENCHMARKS, ids=lambda benchmark: benchmark.name)
def test_published_figures_come_from_the_card(benchmark: Benchmark) -> None:
    card = get_card_of(VisionLanguageCard, "fastvlm-0.5b")
    figures = benchmark.published_figures(card)
    stages = [result.stage for result, _ in figures]
    assert stages == ([] if benchmark.name in ("textvqa", "ai2d") else [2, 3])
    assert all(0.3 < figure < 0.9 for _, figure in figures)
