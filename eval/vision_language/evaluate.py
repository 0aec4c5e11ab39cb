"""A benchmark of a vision-language model, from the questions to the record of its figures."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.eval.features import ProgressCallback
from zoo.eval.results import Record, result_record
from zoo.eval.vision_language.answering import ask
from zoo.eval.vision_language.benchmarks import Benchmark
from zoo.eval.vision_language.predictions import PredictionFile
from zoo.eval.vision_language.question import Question
from zoo.eval.vision_language.scoring import Metrics
from zoo.models.checkpoint import weights_sha256

if TYPE_CHECKING:
    from zoo.models.fastvlm.vision_language_model import VisionLanguageModel


@dataclass(frozen=True, kw_only=True)
class BenchmarkResult:
    """What a model answered, and how good that is."""

    benchmark: Benchmark
    model: str
    weights_sha256: str
    answers: tuple[str, ...]
    """One a question, in their order."""
    metrics: Metrics | None
    """None where the answers are known to a server only."""
    protocol: Mapping[str, Any]
    """What else the figures depend on."""

    @property
    def figure(self) -> float | None:
        """The benchmark's own figure, a fraction."""
        return None if self.metrics is None else self.metrics[self.benchmark.headline]

    def record(self) -> Record:
        """Return the JSON-lines record. Raises ValueError where there are no figures."""
        if self.metrics is None:
            raise ValueError(f"The answers of {self.benchmark.name} are on a server; send it ours.")
        return result_record(
            model=self.model,
            dataset=self.benchmark.name,
            protocol=self.protocol,
            metrics=self.metrics,
            units=dict.fromkeys(self.metrics, "fraction"),
            weights_sha256=self.weights_sha256,
        )


def evaluate_benchmark(
    model: VisionLanguageModel,
    benchmark: Benchmark,
    questions: Sequence[Question],
    *,
    split: str,
    predictions: str | Path,
    batch_size: int = 8,
    model_name: str | None = None,
    progress: ProgressCallback | None = None,
) -> BenchmarkResult:
    """Ask the model `benchmark`'s questions, greedily, and score the answers.

    `predictions` is the file that the answers are appended to as they come; where it holds some of
    the same model, questions and protocol, these are not asked again, and the figures are those of
    a run that was never stopped. `model_name` (say, a run's) replaces the card's.

    Raises ValueError where that file holds other answers, and what `ask` raises.
    """
    name = model_name or model.card.name
    sha256 = weights_sha256(model)
    protocol = _protocol(model, benchmark, questions, split)
    identity = {"model": name, "weights_sha256": sha256, "benchmark": benchmark.name} | protocol
    file = PredictionFile(predictions, identity)
    answers = ask(
        model,
        questions,
        max_new_tokens=benchmark.max_new_tokens,
        batch_size=batch_size,
        answered=file.answers,
        keep=file.add,
        progress=progress,
    )
    is_known = all(question.answers for question in questions)
    return BenchmarkResult(
        benchmark=benchmark,
        model=name,
        weights_sha256=sha256,
        answers=tuple(answers),
        metrics=benchmark.metric(questions, answers) if is_known else None,
        protocol=protocol,
    )


def _protocol(
    model: VisionLanguageModel, benchmark: Benchmark, questions: Sequence[Question], split: str
) -> dict[str, Any]:
    return {
        "task": "vision_language",
        "harness": benchmark.harness,
        "split": split,
        "questions": len(questions),
        "questions_sha256": _sha256(questions),
        "prompt_example": questions[0].prompt,
        "max_new_tokens": benchmark.max_new_tokens,
        "decoding": "greedy",
        "image_size": model.preprocessing.image_size,
        "aspect": model.preprocessing.aspect,
        "grids": [list(grid) for grid in model.views.grids],
        "dtype": str(model.language_model.get_output_embeddings().weight.dtype)[len("torch.") :],
    }


def _sha256(questions: Sequence[Question]) -> str:
    """Of what is asked: a run goes on only with the same questions in the same words."""
    digest = hashlib.sha256()
    for question in questions:
        digest.update(f"{question.id}\0{question.prompt}\0".encode())
    return digest.hexdigest()
