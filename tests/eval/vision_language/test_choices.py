"""Wordy answers to multiple choice are read as each harness reads them.

.venv/bin/pytest tests/eval/vision_language/test_choices.py
"""

from __future__ import annotations

import pytest

from zoo.eval.vision_language.choices import (
    ai2d_match,
    mmmu_choice,
    mmmu_multiple_choice,
    mmmu_open,
    options_text,
    scienceqa_llava,
    scienceqa_lmms_eval,
    seed_match,
)

OPTIONS = ["a cat", "a dog", "12.5", "none"]


@pytest.mark.parametrize(
    ("answer", "llava", "lmms_eval", "seed", "ai2d"),
    [
        ("B", 1, 1, 1, 1),
        ("b", 0, 1, 1, 1),
        ("B.", 0, 1, 1, 1),
        ("B. a dog", 1, 1, 1, 1),
        ("B) a dog", 0, 0, 1, 0),
        ("The answer is B.", 1, 0, 0, 0),
        ("A. a cat", 0, 0, 0, 0),
        ("", 0, 0, 0, 0),
    ],
)
def test_four_harnesses_read_b(answer: str, llava: int, lmms_eval: int, seed: int, ai2d: int):
    found = (
        scienceqa_llava(answer, "B"),
        scienceqa_lmms_eval(answer, "B"),
        seed_match(answer, "B"),
        ai2d_match(answer, "B"),
    )
    assert found == (llava, lmms_eval, seed, ai2d)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("B", "B"),
        ("(C) because (A) is wrong", "A"),  # of several in brackets the last
        ("A or rather B .", "B"),
        ("D. none", "D"),
        ("I think that it must be a dog here", "B"),
        ("a dog", None),  # wordings count in sentences only
        ("", None),
    ],
)
def test_mmmu_reads_brackets_then_letters_then_wordings(answer: str, expected: str | None) -> None:
    assert mmmu_choice(answer, OPTIONS) == expected


def test_mmmu_guesses_the_same_each_time_and_each_option_now_and_then() -> None:
    keys = [f"validation_{number}" for number in range(200)]
    first = [mmmu_multiple_choice("hm", "A", OPTIONS, key) for key in keys]
    assert first == [mmmu_multiple_choice("hm", "A", OPTIONS, key) for key in keys]
    assert 0.1 < sum(first) / len(first) < 0.4


@pytest.mark.parametrize(
    ("answer", "references", "expected"),
    [
        ("The answer is 1,234", ["1234"], 1),
        ("so x = 3.14159", ["3.14"], 1),
        ("It is thus the Nile.", ["Nile"], 1),
        ("7", ["8"], 0),
        ("It is a rat here", ["t"], 1),  # a letter at the end of a word
        ("It is a tram", ["m"], 0),
        ("", ["8"], 0),
    ],
)
def test_mmmu_finds_open_answers_in_conclusions(
    answer: str, references: list[str], expected: int
) -> None:
    assert mmmu_open(answer, references) == expected


def test_options_are_lettered_one_a_line() -> None:
    assert options_text(["x", "y"]) == "A. x\nB. y"
