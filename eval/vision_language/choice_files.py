"""Benchmarks of multiple choice, read from the files that their authors publish.

As `open_answer_files`; the reference answer is the letter of the right option, and the prompt holds
the options, one a line.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from zoo.eval.vision_language.choices import LETTERS, options_text
from zoo.eval.vision_language.question import Question, entries, member, read_json

SINGLE_WORD = "Answer the question using a single word or phrase."
OPTION_LETTER = "Answer with the option's letter from the given choices directly."


def read_scienceqa(folder: Path, split: str) -> list[Question]:
    """ScienceQA: `problems.json` ({id: {question, choices, answer, hint, image}}),
    `pid_splits.json`, pictures in `images/SPLIT/ID/image.png`.

    Only the questions with a picture (ScienceQA-IMG), which is what vision-language papers quote.
    The kind is the subject.
    """
    path = folder / "problems.json"
    problems = read_json(path)
    splits = folder / "pid_splits.json"
    questions = []
    for id in member(read_json(splits), split, splits):
        names = ("question", "choices", "answer", "hint", "image")
        (problem,) = entries([member(problems, id, path)], names, path)
        if problem["image"]:
            questions.append(
                Question(
                    id=id,
                    prompt=_scienceqa_prompt(problem),
                    images=(folder / "images" / split / id / problem["image"],),
                    answers=(LETTERS[problem["answer"]],),
                    options=tuple(problem["choices"]),
                    kind=problem.get("subject", ""),
                )
            )
    return questions


def _scienceqa_prompt(problem: Mapping[str, Any]) -> str:
    context = f"Context: {problem['hint']}\n" if problem["hint"] else ""
    return f"{context}{problem['question']}\n{options_text(problem['choices'])}"


def read_seed(folder: Path, split: str) -> list[Question]:
    """SEED-Bench: `SEED-Bench.json` ({questions, question_type}), pictures in `SEED-Bench-image/`.

    Only the questions about pictures (papers' SEED^I). The kind is the question's type.
    """
    path = folder / "SEED-Bench.json"
    content = read_json(path)
    kinds = {number: kind for kind, number in content.get("question_type", {}).items()}
    choices = tuple(f"choice_{letter}" for letter in "abcd")
    names = ("question_id", "question", "answer", "data_type", "data_id", *choices)
    questions = []
    for entry in entries(member(content, "questions", path), names, path):
        if entry["data_type"] == "image":
            options = tuple(str(entry[choice]) for choice in choices)
            questions.append(
                Question(
                    id=str(entry["question_id"]),
                    prompt=f"{entry['question']}\n{options_text(options)}",
                    images=(folder / "SEED-Bench-image" / entry["data_id"],),
                    answers=(entry["answer"],),
                    options=options,
                    kind=kinds.get(entry.get("question_type_id"), ""),
                )
            )
    return questions


def read_ai2d(folder: Path, split: str) -> list[Question]:
    """AI2D: `questions/PICTURE.json` and `images/` of ai2d-all.zip, `ai2d_test_ids.csv` (one number
    a line), and `abc_images/` of InternVL's ai2diagram.zip.

    The last are for questions such as "What is A?": AI2's own pictures have words, and leave it to
    the reader to draw the letters over them.
    """
    path = folder / "ai2d_test_ids.csv"
    if not path.is_file():
        raise FileNotFoundError(f"There is no file '{path}'.")
    questions = []
    for number in path.read_text(encoding="utf-8").split():
        source = folder / "questions" / f"{number}.png.json"
        if source.is_file():  # some diagrams have no question
            questions += _ai2d_questions(folder, source)
    return questions


def _ai2d_questions(folder: Path, source: Path) -> Iterator[Question]:
    content = read_json(source)
    by_text = member(content, "questions", source)
    names = ("answerTexts", "correctAnswer", "questionId", "abcLabel")
    asked = entries(list(by_text.values()), names, source)
    for text, entry in zip(by_text, asked, strict=True):
        options = tuple(str(option) for option in entry["answerTexts"])
        pictures = "abc_images" if entry["abcLabel"] else "images"
        yield Question(
            id=entry["questionId"],
            prompt=f"{text}\n{options_text(options)}",
            images=(folder / pictures / content["imageName"],),
            answers=(LETTERS[entry["correctAnswer"]],),
            options=options,
        )


_MMMU_PICTURE = re.compile(r"<image (\d+)>")


def read_mmmu(folder: Path, split: str) -> list[Question]:
    """MMMU as on the hub: `SUBJECT/SPLIT-*.parquet`, which hold the pictures; needs pyarrow.

    The kind is the subject. lmms-eval's prompt: the pictures before the text, in which "<image 1>"
    stays, and an instruction for either type of question. The answers of "test" are on the server.
    """
    files = sorted(folder.glob(f"*/{split}-*.parquet"))
    if not files:
        raise FileNotFoundError(f"There is no file '{folder}/SUBJECT/{split}-*.parquet'.")
    return [mmmu_question(row, file.parent.name) for file in files for row in _parquet_rows(file)]


def mmmu_question(row: Mapping[str, Any], subject: str) -> Question:
    """Return the question of one row of MMMU's table."""
    options: tuple[str, ...] = tuple(map(str, ast.literal_eval(row["options"])))
    is_choice = row["question_type"] == "multiple-choice"
    choices = f"\n{options_text(options)}" if is_choice else ""
    text = f"{row['question']}{choices}"
    instruction = OPTION_LETTER if is_choice else SINGLE_WORD
    numbers = sorted(set(_MMMU_PICTURE.findall(text)))
    return Question(
        id=row["id"],
        prompt=f"{text}\n\n{instruction}",
        images=tuple(row[f"image_{number}"]["bytes"] for number in numbers),
        answers=None if row["answer"] in ("?", "") else _mmmu_answers(row["answer"]),
        options=options if is_choice else (),
        kind=subject,
    )


def _mmmu_answers(answer: str) -> tuple[str, ...]:
    """Open questions may have several, written as a list."""
    return tuple(map(str, ast.literal_eval(answer))) if answer.startswith("[") else (answer,)


def _parquet_rows(path: Path) -> Iterator[Mapping[str, Any]]:
    try:
        import pyarrow.parquet  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise ValueError(
            "MMMU's files are parquet, which needs pyarrow; install it with `pip install pyarrow`."
        ) from error
    for batch in pyarrow.parquet.ParquetFile(path).iter_batches():
        yield from batch.to_pylist()
