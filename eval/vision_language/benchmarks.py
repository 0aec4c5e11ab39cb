"""The benchmarks: which files, which prompt, which metric, and what was published of a model."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from zoo.eval.features import evenly
from zoo.eval.vision_language import choice_files, open_answer_files, scoring
from zoo.eval.vision_language.choice_files import OPTION_LETTER, SINGLE_WORD
from zoo.eval.vision_language.pope import pope_metrics
from zoo.eval.vision_language.question import Question, require_pictures
from zoo.eval.vision_language.scoring import Metric
from zoo.models.card import PublishedVisionLanguageResults, VisionLanguageCard

Reader = Callable[[Path, str], list[Question]]


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """One benchmark as the FastVLM paper's harness runs it."""

    name: str
    read: Reader
    """Questions of a folder and a split; its docstring states the layout of the files."""
    source: str
    """Where the files come from."""
    splits: tuple[str, ...]
    """The first is what papers quote and the default."""
    instruction: str
    """Ends every prompt, on a line of its own; empty where the files hold it already."""
    max_new_tokens: int
    metric: Metric
    headline: str
    """Name of the benchmark's figure among those of the metric."""
    harness: str
    """Whose prompt and metric these are."""
    published: str | None = None
    """Name of the benchmark among a card's published figures; None where they are of another
    protocol or not there."""

    def questions(
        self, folder: str | Path, *, split: str | None = None, limit: int | None = None
    ) -> list[Question]:
        """Return the questions with their whole prompts.

        `limit` takes that many, evenly spaced over the file, so that all its parts are in.

        Raises:
            ValueError: an unknown split, a file of another form, or a limit below 1.
            FileNotFoundError: a file or a picture is missing; the sentence says which.
        """
        split = self.splits[0] if split is None else split
        if split not in self.splits:
            raise ValueError(
                f"{self.name} has no split '{split}'; give {' or '.join(self.splits)}."
            )
        try:
            questions = self.read(Path(folder), split)
        except FileNotFoundError as error:
            raise FileNotFoundError(f"{error} Files of {self.name}: {self.source}.") from error
        asked = evenly(questions, limit, "question")
        questions = [self._with_instruction(question) for question in asked]
        if not questions:
            raise ValueError(f"{folder} holds no questions of {self.name}, split '{split}'.")
        require_pictures(questions)
        return questions

    def published_figures(
        self, card: VisionLanguageCard
    ) -> list[tuple[PublishedVisionLanguageResults, float]]:
        """Return what the authors published of a model on this benchmark, as fractions."""
        if self.published is None:
            return []
        return [
            (results, results.accuracy[self.published] / 100)
            for results in card.results
            if self.published in results.accuracy
        ]

    def _with_instruction(self, question: Question) -> Question:
        if not self.instruction:
            return question
        return replace(question, prompt=f"{question.prompt}\n{self.instruction}")


def get_benchmark(name: str) -> Benchmark:
    """Return the benchmark of that name, in any case; ValueError suggests the nearest name."""
    by_name = {benchmark.name: benchmark for benchmark in BENCHMARKS}
    if name.lower() in by_name:
        return by_name[name.lower()]
    near = difflib.get_close_matches(name.lower(), by_name, n=1) or list(by_name)
    raise ValueError(f"Unknown benchmark '{name}'; did you mean {', '.join(near)}?")


BENCHMARKS = (
    Benchmark(
        name="gqa",
        read=open_answer_files.read_gqa,
        source="https://cs.stanford.edu/people/dorarad/gqa/download.html",
        splits=("testdev", "val"),
        instruction=SINGLE_WORD,
        max_new_tokens=16,
        metric=scoring.EXACT_MATCH,
        headline="accuracy",
        harness="lmms-eval gqa, same prompt as LLaVA's",
        published="GQA",
    ),
    Benchmark(
        name="textvqa",
        read=open_answer_files.read_textvqa,
        source="https://textvqa.org/dataset",
        splits=("val", "test"),
        instruction=SINGLE_WORD,
        max_new_tokens=128,
        metric=scoring.TEXTVQA,
        headline="accuracy",
        harness="lmms-eval textvqa, no OCR tokens in the prompt",
    ),
    Benchmark(
        name="textvqa-ocr",
        read=open_answer_files.read_textvqa_with_ocr,
        source="https://textvqa.org/dataset and LLaVA's eval.zip (docs/Evaluation.md)",
        splits=("val",),
        instruction="",
        max_new_tokens=128,
        metric=scoring.TEXTVQA,
        headline="accuracy",
        harness="LLaVA textvqa.sh, OCR tokens in the prompt",
        published="TextVQA",
    ),
    Benchmark(
        name="pope",
        read=open_answer_files.read_pope,
        source="https://github.com/AoiDragon/POPE (output/coco) and COCO's val2014",
        splits=("test",),
        instruction=SINGLE_WORD,
        max_new_tokens=128,
        metric=pope_metrics,
        headline="f1",
        harness="LLaVA eval_pope.py",
        published="POPE",
    ),
    Benchmark(
        name="vqav2",
        read=open_answer_files.read_vqav2,
        source="https://visualqa.org/download.html",
        splits=("val", "test-dev"),
        instruction=SINGLE_WORD,
        max_new_tokens=16,
        metric=scoring.VQAV2,
        headline="accuracy",
        harness="lmms-eval vqav2",
        published="VQAv2",
    ),
    Benchmark(
        name="docvqa",
        read=open_answer_files.read_docvqa,
        source="https://rrc.cvc.uab.es/?ch=17 (task 1)",
        splits=("val", "test"),
        instruction=SINGLE_WORD,
        max_new_tokens=32,
        metric=scoring.ANLS,
        headline="anls",
        harness="lmms-eval docvqa",
        published="DocVQA",
    ),
    Benchmark(
        name="infovqa",
        read=open_answer_files.read_infovqa,
        source="https://rrc.cvc.uab.es/?ch=17 (task 3)",
        splits=("val", "test"),
        instruction=SINGLE_WORD,
        max_new_tokens=32,
        metric=scoring.ANLS,
        headline="anls",
        harness="lmms-eval infovqa",
        published="InfoVQA",
    ),
    Benchmark(
        name="chartqa",
        read=open_answer_files.read_chartqa,
        source="https://github.com/vis-nlp/ChartQA",
        splits=("test", "val"),
        instruction="Answer the question with a single word.",
        max_new_tokens=16,
        metric=scoring.RELAXED,
        headline="accuracy",
        harness="lmms-eval chartqa",
        published="ChartQA",
    ),
    Benchmark(
        name="scienceqa",
        read=choice_files.read_scienceqa,
        source="https://github.com/lupantech/ScienceQA (data/scienceqa)",
        splits=("test", "val"),
        instruction=OPTION_LETTER,
        max_new_tokens=16,
        metric=scoring.SCIENCEQA,
        headline="accuracy",
        harness="LLaVA eval_science_qa.py, questions with a picture",
        published="ScienceQA",
    ),
    Benchmark(
        name="seed",
        read=choice_files.read_seed,
        source="https://github.com/AILab-CVC/SEED-Bench",
        splits=("test",),
        instruction=OPTION_LETTER,
        max_new_tokens=16,
        metric=scoring.SEED,
        headline="accuracy",
        harness="lmms-eval seedbench, pictures only",
        published="SEED",
    ),
    Benchmark(
        name="mmmu",
        read=choice_files.read_mmmu,
        source="https://huggingface.co/datasets/MMMU/MMMU",
        splits=("validation", "test", "dev"),
        instruction="",
        max_new_tokens=128,
        metric=scoring.MMMU,
        headline="accuracy",
        harness="lmms-eval mmmu_val",
        published="MMMU",
    ),
    Benchmark(
        name="ai2d",
        read=choice_files.read_ai2d,
        source="https://prior.allenai.org/projects/diagram-understanding and InternVL's "
        "evaluation data (abc_images)",
        splits=("test",),
        instruction=OPTION_LETTER,
        max_new_tokens=16,
        metric=scoring.AI2D,
        headline="accuracy",
        harness="lmms-eval ai2d, letters drawn into the diagrams",
        published="AI2D",
    ),
)
"""Where a split's answers are on a server, predictions are written and nothing is scored."""
