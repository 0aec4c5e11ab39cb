"""Asking a model many questions: batches of like length, progress, answers kept as they come."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import Protocol

from torch import nn

from zoo.eval.features import Progress, ProgressCallback, evaluation_mode
from zoo.eval.vision_language.question import Question
from zoo.models.preprocess import ImageSource

KeepAnswers = Callable[[Mapping[str, str]], None]


class Answerer(Protocol):
    """Anything that answers as `VisionLanguageModel.generate` does."""

    def generate(
        self,
        images: Sequence[Sequence[ImageSource]],
        prompt: list[str],
        *,
        max_new_tokens: int,
    ) -> list[str]:
        """Return one answer for each prompt, about as many sequences of pictures."""
        ...


def ask(
    model: Answerer,
    questions: Sequence[Question],
    *,
    max_new_tokens: int,
    batch_size: int = 8,
    answered: Mapping[str, str] | None = None,
    keep: KeepAnswers | None = None,
    progress: ProgressCallback | None = None,
) -> list[str]:
    """Return the model's answers, one a question in their order, spaces around them stripped.

    Batches depend on the questions and `batch_size` alone: a run that goes on from `answered`
    (answers by question id) asks a half-done batch again as a whole, so that its answers are those
    of a run that was never stopped. `keep` gets the answers of each batch as it is done. A module
    runs in eval mode and gets its modes back.

    Raises ValueError for a batch size below 1, two questions of one id, and a question that the
    model refuses, such as one with a damaged picture; the answers before it are kept.
    """
    answers = dict(answered or {})
    _check(questions, batch_size)
    start = time.perf_counter()
    open_questions = sum(question.id not in answers for question in questions)
    with evaluation_mode(model) if isinstance(model, nn.Module) else nullcontext():
        done = 0
        for batch in _batches(questions, batch_size):
            missing = sum(question.id not in answers for question in batch)
            if not missing:
                continue
            new = _answers(model, batch, max_new_tokens)
            answers = new | answers
            if keep is not None:
                keep(new)
            done += missing
            if progress is not None:
                seconds = time.perf_counter() - start
                progress(Progress(done=done, total=open_questions, seconds=seconds))
    return [answers[question.id] for question in questions]


def _check(questions: Sequence[Question], batch_size: int) -> None:
    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}; give at least 1.")
    seen: set[str] = set()
    for question in questions:
        if question.id in seen:
            raise ValueError(f"Two questions have the id '{question.id}'; every id is used once.")
        seen.add(question.id)


def _batches(questions: Sequence[Question], size: int) -> list[list[Question]]:
    """Questions of as many pictures and of like length together: padding costs as much as text.

    The longest come first, so that memory that does not suffice shows at once.
    """
    ordered = sorted(
        questions, key=lambda question: (-len(question.images), -len(question.prompt), question.id)
    )
    return [ordered[start : start + size] for start in range(0, len(ordered), size)]


def _answers(model: Answerer, batch: Sequence[Question], max_new_tokens: int) -> dict[str, str]:
    try:
        answers = model.generate(
            [question.images for question in batch],
            [question.prompt for question in batch],
            max_new_tokens=max_new_tokens,
        )
    except ValueError as error:
        ids = ", ".join(question.id for question in batch)
        raise ValueError(f"One of the questions {ids} cannot be asked: {error}") from error
    return {question.id: answer.strip() for question, answer in zip(batch, answers, strict=True)}
