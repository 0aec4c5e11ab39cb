"""`zoo eval`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import tyro

from zoo.commands.console import duration, show_table, status, weights_argument
from zoo.eval.datasets import read_tar_dataset
from zoo.eval.evaluate import evaluate as run_evaluation
from zoo.eval.evaluate import evaluation_record
from zoo.eval.features import Progress
from zoo.eval.results import append_result
from zoo.models.class_names import DEFAULT_TEMPLATES
from zoo.models.load import load_image_text_model

RESULTS = Path("results.jsonl")


def evaluate(
    data: Annotated[Path, tyro.conf.Positional],
    /,
    *,
    model: str,
    weights: str = "published",
    name: str | None = None,
    class_names: Path | None = None,
    template: tyro.conf.UseAppendAction[tuple[str, ...]] = (),
    batch_size: int = 64,
    results: Path = RESULTS,
) -> None:
    """Evaluate zero-shot: classification where samples have a class, retrieval where captions.

    Args:
        data: a webdataset tar, or a folder of tars.
        model: a name of `zoo list`.
        weights: "published", "none" (random) or a file.
        name: what the results call the model, when its own name would not tell runs apart.
        class_names: text file with one class name a line.
        template: sentence around a class name, {} in its place; repeat for several.
        batch_size: pictures encoded at once.
        results: file that the JSON lines are appended to.
    """
    dataset = read_tar_dataset(data, class_names=class_names)
    loaded = load_image_text_model(model, weights=weights_argument(weights))
    evaluations = run_evaluation(
        loaded,
        dataset,
        templates=template or DEFAULT_TEMPLATES,
        batch_size=batch_size,
        progress=_show_progress,
    )
    for evaluation in evaluations:
        rows = [[name, f"{value:.2%}"] for name, value in evaluation.metrics.items()]
        show_table([str(evaluation.protocol["task"]), ""], rows)
        append_result(results, evaluation_record(loaded, dataset, evaluation, model_name=name))


def _show_progress(progress: Progress) -> None:
    status(
        f"pictures {progress.done}/{progress.total}, {progress.rate:.0f} a second, "
        f"{duration(progress.remaining_seconds)} left"
    )
