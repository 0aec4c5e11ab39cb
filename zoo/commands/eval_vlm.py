"""`zoo eval vlm`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import tyro

from zoo.commands.console import duration, say, show_table, status
from zoo.commands.vision_language import DTypeName, Tiles, loaded_model
from zoo.eval.features import Progress
from zoo.eval.results import append_result
from zoo.eval.vision_language.benchmarks import Benchmark, get_benchmark
from zoo.eval.vision_language.conversation_files import read_questions
from zoo.eval.vision_language.evaluate import BenchmarkResult, evaluate_benchmark
from zoo.eval.vision_language.own_questions import questions_benchmark
from zoo.eval.vision_language.scoring import Metrics
from zoo.models.card import Stage, VisionLanguageCard
from zoo.models.hub import PUBLISHED

RESULTS = Path("results.jsonl")
QUESTIONS = "questions"
_ALL = "all"


def evaluate_vlm(
    benchmark: Annotated[str, tyro.conf.Positional],
    /,
    *,
    data: Path,
    model: str = "fastvlm-0.5b",
    weights: str = PUBLISHED,
    stage: Stage | None = None,
    split: str | None = None,
    limit: int | None = None,
    images: Path | None = None,
    training: Path | None = None,
    device: str = "auto",
    dtype: DTypeName | None = None,
    image_size: int | None = None,
    tiles: Tiles = (),
    batch_size: int = 8,
    output: Path | None = None,
    name: str | None = None,
    results: Path = RESULTS,
) -> None:
    """Evaluate a vision-language model on a benchmark's own files, or on questions of your own.

    Answers are appended to OUTPUT as they come; the same command goes on where it was stopped or
    killed. A split whose answers are on a server gets its answers written, without figures.

    Args:
        benchmark: gqa, textvqa, textvqa-ocr, pope, vqav2, docvqa, infovqa, chartqa, scienceqa,
            seed, mmmu or ai2d; "questions" for conversations in LLaVA's form.
        data: folder of the benchmark's files; of questions their .json, .jsonl or shards.
        model: a vision-language model of `zoo list`.
        weights: "published", "none" (random), or a file or folder.
        stage: which of the published weights.
        split: of the benchmark; the one that papers quote by default.
        limit: ask only so many questions, evenly spaced.
        images: of questions: the folder that their paths start from; beside the file by default.
        training: of questions: those trained on, in which the most frequent answers are counted.
        device: cpu, cuda, mps, or auto for the fastest there is.
        dtype: of the weights; what the device computes fastest by default. int8 is the CPU's.
        image_size: side of the model's input in pixels.
        tiles: columns and rows to cut a picture into beside the whole (AnyRes), e.g. 2 2.
        batch_size: questions at once.
        output: file of the answers; answers/MODEL-BENCHMARK-SPLIT.jsonl by default.
        name: what the results call the model, when its own name would not tell runs apart.
        results: file that the JSON lines are appended to.
    """
    chosen = _benchmark(benchmark, images, training)
    split = split or chosen.splits[0]
    questions = chosen.questions(data, split=split, limit=limit)
    loaded = loaded_model(
        model,
        weights=weights,
        stage=stage,
        device=device,
        dtype=dtype,
        image_size=image_size,
        tiles=tiles,
    )
    asked = f"{split}-{limit}" if limit is not None else split
    output = output or Path("answers") / f"{name or loaded.card.name}-{chosen.name}-{asked}.jsonl"
    result = evaluate_benchmark(
        loaded,
        chosen,
        questions,
        split=split,
        predictions=output,
        batch_size=batch_size,
        model_name=name,
        progress=_show_progress,
    )
    _show(result, loaded.card, output)
    if result.metrics is not None:
        append_result(results, result.record())


def _benchmark(name: str, images: Path | None, training: Path | None) -> Benchmark:
    if name == QUESTIONS:
        counted = None if training is None else read_questions(training, images=images)
        return questions_benchmark(images=images, training_questions=counted)
    if images is not None or training is not None:
        raise ValueError(f"--images and --training belong to 'questions', not to '{name}'.")
    return get_benchmark(name)


def _show(result: BenchmarkResult, card: VisionLanguageCard, output: Path) -> None:
    say(f"{len(result.answers)} answers in {output}")
    if result.metrics is None:
        split = result.protocol["split"]
        say(f"The references of '{split}' are on a server, which scores what you send it.")
        return
    say(f"as {result.benchmark.harness}")
    columns, rows = metrics_table(result.metrics)
    show_table(("", *columns), rows)
    for published, figure in result.benchmark.published_figures(card):
        say(
            f"published: {result.benchmark.headline} {figure:.1%} for stage {published.stage} "
            f"({published.source})"
        )


def metrics_table(metrics: Metrics) -> tuple[list[str], list[list[str]]]:
    """Return columns, one a measure, and rows: its name, then percentages: over all, by kind."""
    cells = {name: f"{value:.2%}" for name, value in metrics.items()}
    columns = [name for name in metrics if "/" not in name]
    kinds = dict.fromkeys(name.partition("/")[2] for name in metrics if "/" in name)
    rows = [[_ALL, *(cells[column] for column in columns)]]
    return columns, rows + [
        [kind, *(cells.get(f"{column}/{kind}", "") for column in columns)] for kind in kinds
    ]


def _show_progress(progress: Progress) -> None:
    status(
        f"questions {progress.done}/{progress.total}, {progress.rate:.1f} a second, "
        f"{duration(progress.remaining_seconds)} left"
    )
