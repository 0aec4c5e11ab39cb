"""Everything a dataset allows: classification with labels, retrieval with captions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from zoo.eval.datasets import EvalDataset
from zoo.eval.features import ProgressCallback, image_features, text_features
from zoo.eval.results import Record, result_record
from zoo.eval.retrieval import merge_captions, retrieval_metrics
from zoo.eval.zero_shot import (
    classification_metrics,
    classifier_weights,
    predicted_labels,
)
from zoo.models.checkpoint import weights_sha256
from zoo.models.class_names import DEFAULT_TEMPLATES

if TYPE_CHECKING:
    from zoo.models.image_text_model import ImageTextModel

CLASSIFICATION = "zeroshot_classification"
RETRIEVAL = "zeroshot_retrieval"


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """One task on one dataset: its metrics (fractions 0..1) and how they came about."""

    metrics: Mapping[str, float]
    protocol: Mapping[str, Any]
    """`task`, the number of pictures, the input size, and what else the figures depend on."""
    predictions: tuple[int, ...] | None = None
    """Best class of each picture, for classification."""


def evaluate(
    model: ImageTextModel,
    dataset: EvalDataset,
    *,
    templates: Sequence[str] = DEFAULT_TEMPLATES,
    batch_size: int = 64,
    progress: ProgressCallback | None = None,
) -> list[Evaluation]:
    """Zero-shot classification if the dataset has labels, retrieval if it has captions, or both.

    The pictures are encoded once; `progress` is called after each batch of them.

    Raises:
        ValueError: the dataset has neither, it has labels without class names, a picture cannot be
            decoded, or the model's features are not finite.
    """
    if dataset.labels is None and dataset.captions is None:
        raise ValueError(f"{dataset.name} has neither labels (.cls) nor captions (.txt).")
    if dataset.labels is not None and dataset.class_names is None:
        raise ValueError(f"{dataset.name} has labels but no class names: give their file.")
    features = image_features(
        model, dataset.images, len(dataset), batch_size=batch_size, progress=progress
    )
    evaluations = []
    if dataset.labels is not None and dataset.class_names is not None:
        evaluations.append(
            _classify(model, features, dataset.labels, dataset.class_names, templates)
        )
    if dataset.captions is not None:
        evaluations.append(_retrieve(model, features, dataset.captions))
    return evaluations


def evaluation_record(
    model: ImageTextModel,
    dataset: EvalDataset,
    evaluation: Evaluation,
    *,
    model_name: str | None = None,
) -> Record:
    """The JSON-lines record of an evaluation; `model_name` (say, a run's) replaces the card's."""
    return result_record(
        model=model_name or model.card.name,
        dataset=dataset.name,
        protocol=evaluation.protocol,
        metrics=evaluation.metrics,
        units=dict.fromkeys(evaluation.metrics, "fraction"),
        weights_sha256=weights_sha256(model),
    )


def _classify(
    model: ImageTextModel,
    features: Tensor,
    labels: Sequence[int],
    class_names: Sequence[str],
    templates: Sequence[str],
) -> Evaluation:
    classifier = classifier_weights(model, class_names, templates)
    protocol = _protocol(model, CLASSIFICATION, len(features))
    return Evaluation(
        metrics=classification_metrics(features, classifier, torch.tensor(labels)),
        protocol=protocol | {"classes": len(class_names), "templates": list(templates)},
        predictions=tuple(predicted_labels(features, classifier).tolist()),
    )


def _retrieve(
    model: ImageTextModel, features: Tensor, captions: Sequence[Sequence[str]]
) -> Evaluation:
    texts, pairs = merge_captions(captions)
    protocol = _protocol(model, RETRIEVAL, len(features))
    given = sum(len(image_captions) for image_captions in captions)
    return Evaluation(
        metrics=retrieval_metrics(features, text_features(model, texts), pairs),
        protocol=protocol | {"captions": given, "distinct_captions": len(texts)},
    )


def _protocol(model: ImageTextModel, task: str, image_count: int) -> dict[str, Any]:
    return {
        "task": task,
        "images": image_count,
        "image_size": model.preprocessing.image_size,
        "dtype": str(next(model.parameters()).dtype).removeprefix("torch."),
        "ties": "count as misses",
    }
