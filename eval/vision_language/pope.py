"""POPE (Li et al. 2023): is an object there, yes or no; F1 with "yes" as the positive class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from zoo.eval.vision_language.question import Question
from zoo.eval.vision_language.scoring import Metrics, references


@dataclass(frozen=True, kw_only=True)
class YesNoCounts:
    """How answers and truths meet; a prediction is True for yes, False for no, None for neither."""

    true_positives: int
    false_positives: int
    false_negatives: int
    true_negatives: int

    @classmethod
    def of(cls, said: Sequence[bool | None], truths: Sequence[bool]) -> YesNoCounts:
        """Count them. An answer that is neither counts nowhere, as in lmms-eval."""
        pairs = list(zip(said, truths, strict=True))
        return cls(
            true_positives=pairs.count((True, True)),
            false_positives=pairs.count((True, False)),
            false_negatives=pairs.count((False, True)),
            true_negatives=pairs.count((False, False)),
        )

    @property
    def precision(self) -> float:
        """Share of the "yes" that are right; 0 where there is none."""
        return _ratio(self.true_positives, self.true_positives + self.false_positives)

    @property
    def recall(self) -> float:
        """Share of what is there that was said to be."""
        return _ratio(self.true_positives, self.true_positives + self.false_negatives)

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall."""
        return _ratio(2 * self.precision * self.recall, self.precision + self.recall)


def llava_says_yes(answer: str) -> bool:
    """LLaVA's `eval_pope.py`: no where the first sentence has the word No, no or not, else yes."""
    words = answer.split(".")[0].replace(",", "").split(" ")
    return not {"No", "no", "not"} & set(words)


def lmms_eval_says_yes(answer: str) -> bool | None:
    """lmms-eval: the answer is "yes" or "no" and nothing else, in any case; None for others."""
    return {"yes": True, "no": False}.get(answer.lower().strip())


def pope_metrics(questions: Sequence[Question], answers: Sequence[str]) -> Metrics:
    """Return POPE's figures.

    `f1` is the mean over the categories, which is what papers quote, and `f1/adversarial` and so on
    each of them, by LLaVA's reading; `f1_overall` pools them. `f1_lmms_eval` and
    `accuracy_lmms_eval` pool by lmms-eval's stricter reading. `yes_ratio` is over the *answers*
    (lmms-eval's `pope_yes_ratio` counts the truths, so that it is always 0.5).
    """
    truths = [references(question)[0] == "yes" for question in questions]
    said = [llava_says_yes(answer) for answer in answers]
    strictly = [lmms_eval_says_yes(answer) for answer in answers]
    categories = {
        kind: YesNoCounts.of(*_of_kind(kind, questions, said, truths)).f1
        for kind in sorted({question.kind for question in questions})
    }
    overall = YesNoCounts.of(said, truths)
    return {
        "f1": sum(categories.values()) / len(categories),
        **{f"f1/{kind}": f1 for kind, f1 in categories.items()},
        "f1_overall": overall.f1,
        "f1_lmms_eval": YesNoCounts.of(strictly, truths).f1,
        "accuracy": _agreement(truths, said),
        "accuracy_lmms_eval": _agreement(truths, strictly),
        "precision": overall.precision,
        "recall": overall.recall,
        "yes_ratio": sum(said) / len(said),
    }


def _of_kind(
    kind: str, questions: Sequence[Question], said: Sequence[bool], truths: Sequence[bool]
) -> tuple[list[bool], list[bool]]:
    rows = [row for row, question in enumerate(questions) if question.kind == kind]
    return [said[row] for row in rows], [truths[row] for row in rows]


def _agreement(truths: Sequence[bool], said: Sequence[bool | None]) -> float:
    return sum(a == b for a, b in zip(truths, said, strict=True)) / len(truths)


def _ratio(numerator: float, denominator: float) -> float:
    return numerator / denominator if denominator else 0.0
