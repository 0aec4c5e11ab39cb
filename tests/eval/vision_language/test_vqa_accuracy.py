"""VQA accuracy and its two normalisations, against cases worked out by hand.

.venv/bin/pytest tests/eval/vision_language/test_vqa_accuracy.py
"""

from __future__ import annotations

import pytest

from zoo.eval.vision_language.vqa_accuracy import (
    normalize_textvqa,
    normalize_vqav2,
    vqa_accuracy,
)


@pytest.mark.parametrize(
    ("agreeing", "expected"),
    [
        (0, 0.0),
        # one left out of one: 9 times 1/3, once 0
        (1, 0.3),
        (2, (8 * 2 / 3 + 2 * 1 / 3) / 10),
        # three agree: left out once each, so 7 times 1 and 3 times 2/3
        (3, 0.9),
        (4, 1.0),
        (10, 1.0),
    ],
)
def test_an_answer_scores_by_how_many_of_ten_gave_it(agreeing: int, expected: float) -> None:
    references = ["red"] * agreeing + [f"other {i}" for i in range(10 - agreeing)]
    assert vqa_accuracy("Red.", references, normalize_vqav2) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The  Dog", "dog"),
        ("two, three", "2 3"),
        ("none", "0"),
        ("dont", "don't"),
        ("couldntve", "couldntve"),
        ("couldnt've", "couldn't've"),
        ("somebody'd", "somebodyd"),
        ("x-ray", "x ray"),  # inside a word the sign becomes a space
        ("a - b", "b"),  # at the edge of one it goes, and so does the article
        ("1,000", "1000"),
        ("3.5", "3.5"),
        ("yes.", "yes"),
        ("red\nor\tblue ", "red or blue"),
    ],
)
def test_words_are_made_comparable_as_vqav2_does(text: str, expected: str) -> None:
    assert normalize_vqav2(text) == expected


@pytest.mark.parametrize(
    ("text", "vqav2", "textvqa"),
    [
        ("dog's", "dog's", "dog 's"),
        ("9,5", "95", "95"),
        ("coca,cola", "coca cola", "cocacola"),
        ("what?ever", "what ever", "whatever"),
    ],
)
def test_textvqa_takes_commas_question_marks_and_genitives_first(
    text: str, vqav2: str, textvqa: str
) -> None:
    assert (normalize_vqav2(text), normalize_textvqa(text)) == (vqav2, textvqa)
