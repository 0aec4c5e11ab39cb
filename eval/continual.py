"""Learning over time: the model after every time step, evaluated on the test set of each of them.

Protocol of TiC-CLIP (arXiv 2310.16226): of the T×T scores, the diagonal is what a model does at its
own time, below it what it kept of the past, above it what it can do of the future.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from zoo.eval.datasets import EvalDataset
from zoo.eval.evaluate import Evaluation, evaluate
from zoo.eval.features import ProgressCallback
from zoo.eval.plots import heat_map, run_colours
from zoo.eval.report import FigureSection, Stat, StatsSection, write_report

if TYPE_CHECKING:
    from zoo.models.image_text_model import ImageTextModel

CLASSIFICATION_SCORE = "acc1"
RETRIEVAL_SCORE = "mean_recall@1"


@dataclass(frozen=True)
class TransferMatrix:
    """Scores of T models on T test sets, both in the order of time.

    Raises ValueError for fewer than two steps or another number of scores.
    """

    names: tuple[str, ...]
    """Names of the time steps, oldest first."""
    scores: np.ndarray
    """float (T, T), fractions 0..1: row i is the model after step i, column j the test of step j"""

    def __post_init__(self) -> None:
        steps = len(self.names)
        if steps < 2 or self.scores.shape != (steps, steps):
            raise ValueError(
                f"The scores are {self.scores.shape} for {steps} time steps; expected one of each "
                "model on each test set, and at least two steps."
            )

    @property
    def in_domain(self) -> float:
        """Mean of the diagonal: each model on the test set of its own step."""
        return float(np.diag(self.scores).mean())

    @property
    def backward_transfer(self) -> float:
        """Mean below the diagonal: each model on the test sets of the steps before."""
        return float(self.scores[np.tril_indices(len(self.names), -1)].mean())

    @property
    def forward_transfer(self) -> float:
        """Mean above the diagonal: each model on the test sets of the steps to come."""
        return float(self.scores[np.triu_indices(len(self.names), 1)].mean())

    def metrics(self) -> dict[str, float]:
        """The three means by name, for a result record."""
        return {
            "in_domain": self.in_domain,
            "backward_transfer": self.backward_transfer,
            "forward_transfer": self.forward_transfer,
        }


def score_name(dataset: EvalDataset) -> str:
    """Return the metric that stands for a test set in the matrix.

    With labels and class names it is the zero-shot top-1 accuracy, else the mean of recall@1 in
    both directions of retrieval.
    """
    labelled = dataset.labels is not None and dataset.class_names is not None
    return CLASSIFICATION_SCORE if labelled else RETRIEVAL_SCORE


def evaluate_step(
    model: ImageTextModel,
    dataset: EvalDataset,
    *,
    batch_size: int = 64,
    progress: ProgressCallback | None = None,
) -> Evaluation:
    """Evaluate a model on the test set of a step; its score is the metric `score_name(dataset)`.

    Raises what `evaluate` raises.
    """
    classifies = score_name(dataset) == CLASSIFICATION_SCORE
    wanted = replace(dataset, captions=None) if classifies else replace(dataset, labels=None)
    (evaluation,) = evaluate(model, wanted, batch_size=batch_size, progress=progress)
    return evaluation


def write_matrix_report(path: Path, matrix: TransferMatrix, *, title: str) -> Path:
    """Write a page with the heat map of the scores and the three means; return its path."""
    label = {"in_domain": "at its own time", "backward_transfer": "on the past"}
    stats = [
        Stat(value=f"{value:.1%}", label=label.get(name, "on the future"))
        for name, value in matrix.metrics().items()
    ]
    figure = heat_map(
        100 * matrix.scores,
        next(iter(run_colours([title]).values())),
        row_names=matrix.names,
        column_names=matrix.names,
        x_label="test set of",
        y_label="model after",
    )
    caption = "Scores in percent. Below the diagonal is the past, above it the future."
    sections = [StatsSection(stats=stats), FigureSection(figure=figure, caption=caption)]
    return write_report(path, title=title, sections=sections)
