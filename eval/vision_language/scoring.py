"""From the answers to a benchmark's figures: means over all questions and over each kind."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from zoo.eval.vision_language.answer_scores import anls, exact_match, relaxed_match
from zoo.eval.vision_language.choices import (
    ai2d_match,
    mmmu_multiple_choice,
    mmmu_open,
    scienceqa_llava,
    scienceqa_lmms_eval,
    seed_match,
)
from zoo.eval.vision_language.question import Question
from zoo.eval.vision_language.vqa_accuracy import (
    Normalizer,
    normalize_textvqa,
    normalize_vqav2,
    vqa_accuracy,
)

Metrics = dict[str, float]
"""Fractions in 0…1 by name; "accuracy/colour" is that of one kind."""
Metric = Callable[[Sequence[Question], Sequence[str]], Metrics]
"""From questions and as many answers of the model."""
Score = Callable[[str, Question], float]
"""Of one answer, in 0…1."""


def mean_of(**scores: Score) -> Metric:
    """Return the metric whose figures are means of `scores`, the first one by kind as well."""
    headline = next(iter(scores))

    def metric(questions: Sequence[Question], answers: Sequence[str]) -> Metrics:
        metrics = {}
        for name, score in scores.items():
            values = [
                score(answer, question) for question, answer in zip(questions, answers, strict=True)
            ]
            metrics[name] = sum(values) / len(values)
            if name == headline:
                metrics |= _by_kind(name, questions, values)
        return metrics

    return metric


def _by_kind(name: str, questions: Sequence[Question], values: Sequence[float]) -> Metrics:
    kinds: dict[str, list[float]] = {}
    for question, value in zip(questions, values, strict=True):
        kinds.setdefault(question.kind, []).append(value)
    if len(kinds) == 1:
        return {}
    return {f"{name}/{kind}": sum(kinds[kind]) / len(kinds[kind]) for kind in sorted(kinds)}


def references(question: Question) -> tuple[str, ...]:
    """Return the answers of a question; ValueError where they are not known."""
    if not question.answers:
        raise ValueError(f"Question {question.id} has no reference answer, so it has no score.")
    return question.answers


def letter(question: Question) -> str:
    """Return the letter of a multiple-choice question's right option."""
    return references(question)[0]


def _vqa(normalize: Normalizer) -> Score:
    return lambda answer, question: vqa_accuracy(answer, references(question), normalize)


def _mmmu(answer: str, question: Question) -> float:
    if not question.options:
        return mmmu_open(answer, references(question))
    return mmmu_multiple_choice(answer, letter(question), question.options, question.id)


EXACT_MATCH = mean_of(accuracy=lambda answer, question: exact_match(answer, references(question)))
TEXTVQA = mean_of(accuracy=_vqa(normalize_textvqa))
VQAV2 = mean_of(accuracy=_vqa(normalize_vqav2))
ANLS = mean_of(anls=lambda answer, question: anls(answer, references(question)))
RELAXED = mean_of(accuracy=lambda answer, question: relaxed_match(answer, references(question)[0]))
SCIENCEQA = mean_of(
    accuracy=lambda answer, question: scienceqa_llava(answer, letter(question)),
    accuracy_lmms_eval=lambda answer, question: scienceqa_lmms_eval(answer, letter(question)),
)
SEED = mean_of(accuracy=lambda answer, question: seed_match(answer, letter(question)))
AI2D = mean_of(accuracy=lambda answer, question: ai2d_match(answer, letter(question)))
MMMU = mean_of(accuracy=_mmmu)
