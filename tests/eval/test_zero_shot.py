"""Zero-shot metrics equal a direct re-derivation, and degenerate features never look good.

.venv/bin/pytest tests/eval/test_zero_shot.py
"""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from zoo.eval.zero_shot import (
    classification_metrics,
    classifier_weights,
    predicted_labels,
)
from zoo.models.class_names import average_templates, class_prompts
from zoo.models.load import load_model


def unit(*shape: int, seed: int = 0) -> torch.Tensor:
    return F.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=-1)


def sorted_metrics(
    features: torch.Tensor, classifier: torch.Tensor, labels: torch.Tensor
) -> dict[str, float]:
    """The definition, picture by picture in plain Python."""
    hits1, hits5 = [], []
    for feature, label in zip(features, labels.tolist(), strict=True):
        scores = [float(feature @ weights) for weights in classifier]
        order = sorted(range(len(scores)), key=lambda index: -scores[index])
        hits1.append(order[0] == label)
        hits5.append(label in order[:5])
    recalls = []
    for label in set(labels.tolist()):
        of_class = [hit for hit, own in zip(hits1, labels.tolist(), strict=True) if own == label]
        recalls.append(sum(of_class) / len(of_class))
    return {
        "acc1": sum(hits1) / len(hits1),
        "acc5": sum(hits5) / len(hits5),
        "mean_per_class_recall": sum(recalls) / len(recalls),
    }


@pytest.mark.parametrize("seed", range(3))
def test_metrics_equal_the_definition(seed: int) -> None:
    # Classes 9 to 11 have no picture.
    labels = torch.randint(0, 9, (80,), generator=torch.Generator().manual_seed(seed))
    classifier = unit(12, 8, seed=seed + 10)
    features = F.normalize(classifier[labels] + 2 * unit(80, 8, seed=seed + 20), dim=-1)
    metrics = classification_metrics(features, classifier, labels)
    assert metrics == pytest.approx(sorted_metrics(features, classifier, labels))
    assert 0.2 < metrics["acc1"] < metrics["acc5"] < 1


def test_features_that_know_the_label_score_everything() -> None:
    classifier = unit(10, 16)
    labels = torch.arange(10).repeat(3)
    metrics = classification_metrics(classifier[labels], classifier, labels)
    assert metrics == {"acc1": 1.0, "acc5": 1.0, "mean_per_class_recall": 1.0}


def test_a_classifier_that_says_the_same_of_every_class_scores_nothing() -> None:
    classifier = torch.ones(8, 4) / 2
    metrics = classification_metrics(unit(20, 4), classifier, torch.arange(20) % 8)
    assert set(metrics.values()) == {0.0}


def test_constant_image_features_score_chance() -> None:
    labels = torch.arange(40) % 10
    metrics = classification_metrics(unit(1, 16).expand(40, -1), unit(10, 16, seed=1), labels)
    assert metrics["acc1"] == pytest.approx(0.1)


def test_top_five_of_five_classes_is_not_a_figure() -> None:
    assert "acc5" not in classification_metrics(unit(5, 4), unit(5, 4), torch.arange(5))


@pytest.mark.parametrize("which", ["image", "classifier"])
def test_features_that_are_not_finite_are_refused(which: str) -> None:
    features, classifier = unit(6, 4), unit(6, 4)
    (features if which == "image" else classifier)[3, 1] = float("nan")
    with pytest.raises(ValueError, match=f"{which}.* of 1 of 6 items are not finite"):
        classification_metrics(features, classifier, torch.arange(6))


@pytest.mark.parametrize("label", [-1, 6])
def test_a_label_outside_the_classes_is_named(label: int) -> None:
    with pytest.raises(ValueError, match=f"label {label} is not one of the 6 classes"):
        classification_metrics(unit(2, 4), unit(6, 4), torch.tensor([0, label]))


def test_templates_are_averaged_after_normalising_each() -> None:
    long, short = torch.tensor([100.0, 0.0]), torch.tensor([0.0, 0.01])
    mean = average_templates(torch.stack([long, short]), 1)
    assert torch.allclose(mean, torch.full((1, 2), 0.5**0.5))


def test_the_classifier_of_a_model_is_the_average_over_its_prompts() -> None:
    torch.manual_seed(0)
    model = load_model("mobileclip-tiny", weights=None)
    templates = ("a photo of a {}.", "art of the {c}")
    classifier = classifier_weights(model, ["dog", "cat", "red cube"], templates)
    with torch.no_grad():
        tokens = model.tokenize(["a photo of a cat.", "art of the cat"])
        expected = F.normalize(model.encode_text(tokens, normalize=True).mean(0), dim=0)
    assert torch.allclose(classifier[1], expected, atol=1e-6)
    assert predicted_labels(classifier, classifier).tolist() == [0, 1, 2]


def test_prompts_run_template_by_template_within_a_class() -> None:
    assert class_prompts(["dog", "cat"], ["a {}", "{c}?"]) == ["a dog", "dog?", "a cat", "cat?"]


@pytest.mark.parametrize(
    ("class_names", "templates", "message"),
    [
        ([], ["a {}"], "class names must be one or more"),
        (["dog", " "], ["a {}"], "class names must be one or more"),
        (["dog"], [], "no templates"),
        (["dog"], ["a photo"], "no place for the name"),
        (["dog"], ["a {name}"], "mark the name by {}"),
        (["dog"], ["a {"], "mark the name by {}"),
    ],
)
def test_a_prompt_that_cannot_be_made_is_one_clear_sentence(
    class_names: list[str], templates: list[str], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        class_prompts(class_names, templates)
