"""Zero-shot classification: a classifier made of class names, and its accuracy on features.

Protocol of CLIP (Radford et al. 2021, section 3.1.4): for each class the normalised text features
of all templates are averaged and normalised again; a picture gets the class whose weights have the
highest cosine with its features. Metric names are those of CLIP_benchmark.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from zoo.eval.features import ProgressCallback, require_finite, text_features
from zoo.models.class_names import DEFAULT_TEMPLATES, average_templates, class_prompts

if TYPE_CHECKING:
    from zoo.models.image_text_model import ImageTextModel


def classifier_weights(
    model: ImageTextModel,
    class_names: Sequence[str],
    templates: Sequence[str] = DEFAULT_TEMPLATES,
    *,
    batch_size: int = 256,
    progress: ProgressCallback | None = None,
) -> Tensor:
    """Zero-shot classifier, float32 (classes, D) on the CPU, rows of length 1.

    Raises:
        ValueError: see `class_prompts`.
    """
    prompts = class_prompts(class_names, templates)
    features = text_features(model, prompts, batch_size=batch_size, progress=progress)
    return average_templates(features, len(class_names))


def predicted_labels(image_features: Tensor, classifier: Tensor) -> Tensor:
    """Index of the best class of each picture, int64 (N,), from (N, D) and (classes, D)."""
    return (image_features @ classifier.T).argmax(dim=1)


def classification_metrics(
    image_features: Tensor, classifier: Tensor, labels: Tensor
) -> dict[str, float]:
    """`acc1`, `acc5` and `mean_per_class_recall`, fractions 0..1.

    Takes features (N, D), a classifier (classes, D) and labels int64 (N,). A class that ties with
    the right one counts as ranked before it, so that a classifier that says the same of every class
    scores 0. `acc5` is left out unless there are more than five classes. Classes without a picture
    do not enter `mean_per_class_recall` (as in scikit-learn's `balanced_accuracy_score`).

    Raises:
        ValueError: there is no picture, a feature is not finite, or a label is not one of the
            classes.
    """
    require_finite("image features", image_features)
    require_finite("classifier", classifier)
    _require_labels(labels, len(image_features), len(classifier))
    scores = image_features @ classifier.T
    right = scores.gather(1, labels[:, None])
    rank = (scores >= right).sum(dim=1) - 1
    metrics = {"acc1": _share(rank < 1)}
    if len(classifier) > 5:
        metrics["acc5"] = _share(rank < 5)
    metrics["mean_per_class_recall"] = _mean_per_class(rank < 1, labels, len(classifier))
    return metrics


def _require_labels(labels: Tensor, image_count: int, class_count: int) -> None:
    if not image_count or labels.shape != (image_count,):
        raise ValueError(
            f"There are {image_count} pictures and labels of shape {tuple(labels.shape)}: "
            "each picture needs one label."
        )
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= class_count:
        wrong = low if low < 0 else high
        raise ValueError(f"The label {wrong} is not one of the {class_count} classes (from 0).")


def _share(hits: Tensor) -> float:
    return hits.double().mean().item()


def _mean_per_class(hits: Tensor, labels: Tensor, class_count: int) -> float:
    pictures = torch.bincount(labels, minlength=class_count).double()
    found = torch.bincount(labels, weights=hits.double(), minlength=class_count)
    present = pictures > 0
    return (found[present] / pictures[present]).mean().item()
