"""POPE's figures by both harnesses' reading of an answer.

.venv/bin/pytest tests/eval/vision_language/test_pope.py
"""

from __future__ import annotations

import pytest

from zoo.eval.vision_language.pope import llava_says_yes, lmms_eval_says_yes, pope_metrics
from zoo.eval.vision_language.question import Question


@pytest.mark.parametrize(
    ("answer", "llava", "lmms_eval"),
    [
        ("Yes", True, True),
        (" no ", False, False),
        ("No, there is none.", False, None),
        ("There is not a dog", False, None),
        ("I cannot say", True, None),
        ("Yes. But no", True, None),
    ],
)
def test_llava_looks_for_a_no_and_lmms_eval_for_the_bare_word(
    answer: str, llava: bool, lmms_eval: bool | None
) -> None:
    assert (llava_says_yes(answer), lmms_eval_says_yes(answer)) == (llava, lmms_eval)


def test_figures_by_category_and_over_all() -> None:
    rows = [
        # category, truth, answer
        ("popular", "yes", "yes"),
        ("popular", "no", "yes"),
        ("popular", "no", "no"),
        ("random", "yes", "Yes"),
        ("random", "yes", "it is not there"),
        ("random", "no", "perhaps"),
    ]
    questions = [
        Question(id=str(number), prompt="", answers=(truth,), kind=kind)
        for number, (kind, truth, _) in enumerate(rows)
    ]
    metrics = pope_metrics(questions, [answer for *_, answer in rows])
    # popular: TP 1, FP 1, FN 0 → P 1/2, R 1 → 2/3. random: TP 1, FP 1 ("perhaps"), FN 1 → 1/2.
    assert metrics["f1/popular"] == pytest.approx(2 / 3)
    assert metrics["f1/random"] == pytest.approx(1 / 2)
    assert metrics["f1"] == pytest.approx((2 / 3 + 1 / 2) / 2)
    # together: TP 2, FP 2, FN 1
    assert metrics["f1_overall"] == pytest.approx(4 / 7)
    # bare words alone: TP 2, FP 1, and what is neither counts nowhere
    assert metrics["f1_lmms_eval"] == pytest.approx(2 * (2 / 3) / (2 / 3 + 1))
    assert metrics["accuracy"] == pytest.approx(3 / 6)
    assert metrics["accuracy_lmms_eval"] == pytest.approx(3 / 6)
    assert metrics["yes_ratio"] == pytest.approx(4 / 6)


def test_a_model_that_never_says_yes_has_no_f1_and_raises_nothing() -> None:
    questions = [Question(id="0", prompt="", answers=("yes",), kind="random")]
    metrics = pope_metrics(questions, ["no"])
    assert metrics["f1"] == metrics["precision"] == metrics["yes_ratio"] == 0.0
