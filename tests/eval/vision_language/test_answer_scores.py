"""ANLS, relaxed accuracy and exact match, against cases worked out by hand.

.venv/bin/pytest tests/eval/vision_language/test_answer_scores.py
"""

from __future__ import annotations

import pytest

from zoo.eval.vision_language.answer_scores import (
    anls,
    edit_distance,
    exact_match,
    relaxed_match,
    words_match,
)


def test_the_edit_distance_counts_letters() -> None:
    assert edit_distance("kitten", "sitting") == 3
    assert edit_distance("", "abc") == edit_distance("abc", "") == 3
    assert edit_distance("same", "same") == 0


@pytest.mark.parametrize(
    ("answer", "references", "expected"),
    [
        ("ITC  Limited", ["itc limited"], 1.0),
        ("hello", ["hallo", "welt"], 0.8),
        ("abcd", ["abxx"], 0.5),
        ("abc", ["axx"], 0.0),  # 1/3 is below the threshold
        ("", ["abc"], 0.0),
    ],
)
def test_anls_is_the_nearest_reference_or_nothing(
    answer: str, references: list[str], expected: float
) -> None:
    assert anls(answer, references) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("answer", "reference", "expected"),
    [
        ("105", "100", 1.0),
        ("105.1", "100", 0.0),
        ("-95", "-100", 1.0),
        ("50%", "0.5", 1.0),
        ("50", "50%", 0.0),
        ("0", "0", 1.0),
        ("0.0", "0", 0.0),  # a reference of zero is compared as text
        ("Blue", "blue", 1.0),
        ("2014.", "2014", 1.0),  # "2014." is a number
        ("1,000", "1000", 0.0),  # and "1,000" is none
    ],
)
def test_relaxed_accuracy_allows_numbers_five_per_cent(
    answer: str, reference: str, expected: float
) -> None:
    assert relaxed_match(answer, reference) == expected


def test_exact_match_ignores_case_and_punctuation_but_no_space() -> None:
    assert exact_match("Yes.", ["yes"]) == exact_match("T-shirt", ["no", "tshirt"]) == 1.0
    assert exact_match("two  dogs", ["two dogs"]) == 0.0
    assert words_match(" two  dogs! ", ["Two dogs"]) == 1.0
    assert words_match("dogs two", ["two dogs"]) == 0.0
