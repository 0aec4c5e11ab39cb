"""Questions of one's own: how many a model answers word for word, and how many blind guessing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from zoo.eval.features import ProgressCallback
from zoo.eval.vision_language.answer_scores import plain, words_match
from zoo.eval.vision_language.answering import Answerer, ask
from zoo.eval.vision_language.benchmarks import Benchmark
from zoo.eval.vision_language.conversation_files import read_questions
from zoo.eval.vision_language.question import Question
from zoo.eval.vision_language.scoring import Metrics, mean_of, references

MAX_NEW_TOKENS = 32
_MATCH = mean_of(accuracy=lambda answer, question: words_match(answer, references(question)))


@dataclass(frozen=True, kw_only=True)
class KindResult:
    """How a model does on the questions of one kind."""

    kind: str
    questions: int
    accuracy: float
    """Share of answers whose words are the reference's, in any case and punctuation."""
    majority: float
    """The same share for a model that always gives the most frequent answer of the kind."""
    majority_answer: str


@dataclass(frozen=True, kw_only=True)
class QuestionsResult:
    """How a model does on questions of one's own."""

    overall: KindResult
    """Its majority is that of one answer for all kinds."""
    kinds: tuple[KindResult, ...]
    majority_from: str
    """Where the most frequent answers were counted: "training" or "evaluation" questions."""
    answers: tuple[str, ...]

    @property
    def metrics(self) -> Metrics:
        """The figures by name: "accuracy", "accuracy/colour", "majority/colour", …"""
        metrics = {"accuracy": self.overall.accuracy, "majority": self.overall.majority}
        for kind in self.kinds:
            metrics[f"accuracy/{kind.kind}"] = kind.accuracy
            metrics[f"majority/{kind.kind}"] = kind.majority
        return metrics


def evaluate_questions(
    model: Answerer,
    questions: Sequence[Question],
    *,
    training_questions: Sequence[Question] | None = None,
    max_new_tokens: int = MAX_NEW_TOKENS,
    batch_size: int = 16,
    progress: ProgressCallback | None = None,
) -> QuestionsResult:
    """Return the exact-match accuracy of the model's greedy answers, over all and by kind.

    Beside it stands what always giving the most frequent answer would score. That answer is
    counted in `training_questions`, as a model without eyes would have to; without them in the
    evaluated ones, which flatters the majority.

    Raises what `zoo.eval.vision_language.answering.ask` raises, and ValueError where there are no
    questions.
    """
    answers = ask(
        model, questions, max_new_tokens=max_new_tokens, batch_size=batch_size, progress=progress
    )
    return questions_result(questions, answers, training_questions)


def questions_result(
    questions: Sequence[Question],
    answers: Sequence[str],
    training_questions: Sequence[Question] | None = None,
) -> QuestionsResult:
    """Return how good `answers` are; see `evaluate_questions`.

    Raises ValueError where there are no questions.
    """
    if not questions:
        raise ValueError("There are no questions to evaluate; give at least one.")
    counted = questions if training_questions is None else training_questions
    kinds = sorted({question.kind for question in questions})
    return QuestionsResult(
        overall=_kind_result("all", questions, answers, counted),
        kinds=tuple(
            _kind_result(
                kind,
                [question for question in questions if question.kind == kind],
                [answer for answer, of in zip(answers, questions, strict=True) if of.kind == kind],
                [question for question in counted if question.kind == kind],
            )
            for kind in kinds
        ),
        majority_from=_counted_in(training_questions),
        answers=tuple(answers),
    )


def questions_benchmark(
    *,
    images: str | Path | None = None,
    training_questions: Sequence[Question] | None = None,
    max_new_tokens: int = MAX_NEW_TOKENS,
) -> Benchmark:
    """Return questions of one's own as a benchmark, whose folder is the file or folder of shards.

    `images` as in `read_questions`, the others as in `evaluate_questions`.
    """

    def metric(questions: Sequence[Question], answers: Sequence[str]) -> Metrics:
        return questions_result(questions, answers, training_questions).metrics

    return Benchmark(
        name="questions",
        read=lambda data, split: read_questions(data, images=images),
        source="your own, in LLaVA's form",
        splits=("all",),
        instruction="",
        max_new_tokens=max_new_tokens,
        metric=metric,
        headline="accuracy",
        harness="zoo: the reference's words; "
        f"majority answers of the {_counted_in(training_questions)} questions",
    )


def _counted_in(training_questions: Sequence[Question] | None) -> str:
    return "evaluation" if training_questions is None else "training"


def _kind_result(
    kind: str, questions: Sequence[Question], answers: Sequence[str], counted: Sequence[Question]
) -> KindResult:
    majority_answer = _most_frequent(counted)
    guesses = [majority_answer] * len(questions)
    return KindResult(
        kind=kind,
        questions=len(questions),
        accuracy=_MATCH(questions, answers)["accuracy"],
        majority=_MATCH(questions, guesses)["accuracy"],
        majority_answer=majority_answer,
    )


def _most_frequent(questions: Sequence[Question]) -> str:
    """In plain form; of equally frequent ones the first in the alphabet, "" where none is."""
    counts = Counter(plain(answer) for question in questions for answer in question.answers or ())
    return min(counts, key=lambda answer: (-counts[answer], answer), default="")
