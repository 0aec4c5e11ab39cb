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
from torch.nn import functional as F

from zoo.eval.features import ProgressCallback, require_finite, text_features

if TYPE_CHECKING:
    from zoo.models.image_text_model import ImageTextModel

DEFAULT_TEMPLATES = ("a photo of a {}.",)


def class_prompts(class_names: Sequence[str], templates: Sequence[str]) -> list[str]:
    """Every template filled with every class name, template by template within a class.

    A template marks the place of the name by `{}` or, as DataComp's files do, by `{c}`.

    Raises:
        ValueError: there are no classes or no templates, a name is empty, or a template has no
            place for the name.
    """
    if not class_names or any(not name.strip() for name in class_names):
        raise ValueError("The class names must be one or more non-empty words, such as 'a dog'.")
    if not templates:
        raise ValueError("There are no templates: give at least one, such as 'a photo of a {}.'.")
    return [_fill(template, name) for name in class_names for template in templates]


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


def average_templates(features: Tensor, class_count: int) -> Tensor:
    """Mean over a class's templates of features (classes * templates, D), normalised again."""
    by_class = F.normalize(features, dim=-1).reshape(class_count, -1, features.shape[-1])
    return F.normalize(by_class.mean(dim=1), dim=-1)


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


def _fill(template: str, name: str) -> str:
    try:
        prompt, other = (template.format(text, c=text) for text in (name, name + "\0"))
    except (IndexError, KeyError, ValueError) as error:
        raise ValueError(f"The template {template!r} is not one: mark the name by {{}}.") from error
    if prompt == other:
        raise ValueError(f"The template {template!r} has no place for the name: write {{}} there.")
    return prompt


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
