"""The tasks of a transfer minimise what they say, and move the tower and its head alone.

Run: pytest tests/training/transfer/test_transfer_tasks.py
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from toy_batches import TEACHER_DIM, ToyLoader, losses_of, toy_batch, toy_recipe

from zoo.models.image_text_model import ImageTextModel
from zoo.models.load import load_model
from zoo.training.tasks.build import build_task
from zoo.training.transfer.classification_head import ClassificationHead
from zoo.training.transfer.distillation import FeatureDistillation, TaskDistillation
from zoo.training.transfer.head import LinearHead, save_head
from zoo.training.transfer.image_task import ImageTask

CLASSES = 3


@pytest.fixture
def model() -> ImageTextModel:
    torch.manual_seed(0)
    return load_model("mobileclip-tiny", weights=None, reparameterize=False)


@pytest.fixture(scope="module")
def batch() -> dict[str, Tensor]:
    return toy_batch(seed=0, size=6) | {"label": torch.tensor([0, 1, 2, 2, 1, 0])}


def random_head(features: int, of: str, pretrained: str = "toy") -> LinearHead:
    head = LinearHead(features, CLASSES, of=of, pretrained=pretrained)
    generator = torch.Generator().manual_seed(5)
    for parameter in head.parameters():
        torch.nn.init.normal_(parameter, generator=generator)
    return head


def task_distillation(model: ImageTextModel, temperature: float = 2.0) -> TaskDistillation:
    head = random_head(TEACHER_DIM, "two")
    task = TaskDistillation(model, teacher_head=head, temperature=temperature)
    torch.nn.init.normal_(task.head.weight, generator=torch.Generator().manual_seed(6))
    return task


def feature_distillation(model: ImageTextModel) -> FeatureDistillation:
    return FeatureDistillation(model, teacher="two", embed_dim=TEACHER_DIM)


def classification_head(model: ImageTextModel) -> ClassificationHead:
    return ClassificationHead(model, head=random_head(model.card.embed_dim, model.card.name))


TASKS: list[Callable[[ImageTextModel], ImageTask]] = [
    task_distillation,
    feature_distillation,
    classification_head,
]


def tower_features(model: ImageTextModel, batch: dict[str, Tensor]) -> np.ndarray:
    with torch.no_grad():
        return model.encode_image(batch["image"] / 255).double().numpy()


def log_softmax_of(head: LinearHead, features: np.ndarray, temperature: float = 1) -> np.ndarray:
    x = np.sqrt(features.shape[1]) * features / np.linalg.norm(features, axis=1, keepdims=True)
    logits = x @ head.weight.detach().numpy().T + head.bias.detach().numpy()
    logits /= temperature
    return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))


def test_task_distillation_is_the_divergence_from_the_teacher_heads_softmax(
    model: ImageTextModel, batch: dict[str, Tensor]
) -> None:
    task = task_distillation(model.eval(), temperature=2.0)
    asked = log_softmax_of(task.teacher_head, batch["teacher_image.two"].double().numpy(), 2.0)
    found = log_softmax_of(task.head, tower_features(model, batch), 2.0)
    expected = 4.0 * (np.exp(asked) * (asked - found)).sum(axis=1).mean()
    losses = losses_of(task.eval(), batch)
    assert losses.keys() == {"task_distillation_loss"}
    assert losses["task_distillation_loss"].item() == pytest.approx(expected, rel=1e-4)


def test_feature_distillation_is_the_mean_cosine_distance_of_the_projection(
    model: ImageTextModel, batch: dict[str, Tensor]
) -> None:
    task = feature_distillation(model).eval()
    weight, bias = (p.detach().double().numpy() for p in task.projection.parameters())
    projected = tower_features(model, batch) @ weight.T + bias
    stored = batch["teacher_image.two"].double().numpy()
    lengths = np.linalg.norm(projected, axis=1) * np.linalg.norm(stored, axis=1)
    expected = 1 - ((projected * stored).sum(axis=1) / lengths).mean()
    loss = losses_of(task, batch)["feature_distillation_loss"]
    assert loss.item() == pytest.approx(expected, rel=1e-4)


def test_the_classification_head_learns_labels_by_cross_entropy(
    model: ImageTextModel, batch: dict[str, Tensor]
) -> None:
    task = classification_head(model).eval()
    found = log_softmax_of(task.head, tower_features(model, batch))
    expected = -found[np.arange(6), batch["label"].numpy()].mean()
    loss = losses_of(task, batch)["classification_loss"]
    assert loss.item() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("build", TASKS)
def test_the_image_tower_and_the_tasks_own_layer_learn_and_nothing_else(
    build: Callable[[ImageTextModel], ImageTask], model: ImageTextModel, batch: dict[str, Tensor]
) -> None:
    task = build(model).train()
    (loss,) = losses_of(task, batch).values()
    loss.backward()
    with_gradient = {name for name, p in task.named_parameters() if p.grad is not None}
    trainable = {name for name, p in task.named_parameters() if p.requires_grad}
    assert with_gradient == trainable
    assert all(
        name.startswith(("model.image_encoder.", "head.", "projection.")) for name in trainable
    )
    assert any(name.startswith(("head.", "projection.")) for name in trainable)


def test_the_teachers_head_stays_as_it_is_when_the_whole_task_is_told_to_train(
    model: ImageTextModel, batch: dict[str, Tensor]
) -> None:
    task = task_distillation(model)
    task.requires_grad_(True)
    losses_of(task.train(), batch)["task_distillation_loss"].backward()
    assert not task.teacher_head.training
    assert all(parameter.grad is None for parameter in task.teacher_head.parameters())


def test_a_label_beyond_the_heads_classes_is_refused(
    model: ImageTextModel, batch: dict[str, Tensor]
) -> None:
    beyond = batch | {"label": torch.tensor([0, 1, 2, 3, 1, 0])}
    with pytest.raises(ValueError, match="A label is 3, but the head has 3 classes"):
        classification_head(model).check_batch(beyond)
    with pytest.raises(ValueError, match="ClassificationHead needs label in a batch"):
        classification_head(model).check_batch(toy_batch(seed=0, size=6))


@pytest.mark.parametrize(
    ("changes", "head", "message"),
    [
        (
            {"task": "task-distillation"},
            ("three", TEACHER_DIM, "toy"),
            "no teacher 'three' but one",
        ),
        ({"task": "task-distillation"}, ("two", TEACHER_DIM, "old"), r"\(old\), but .* of toy"),
        ({"task": "classification-head"}, ("two", 128, "toy"), "of two, but mobileclip-tiny has"),
        ({"task": "feature-distillation"}, None, "store one, two; name the teacher"),
        ({"task": "feature-distillation", "teacher": "six"}, None, "no teacher 'six' but one, two"),
    ],
)
def test_a_head_or_teacher_that_does_not_fit_is_named(
    changes: dict[str, Any],
    head: tuple[str, int, str] | None,
    message: str,
    model: ImageTextModel,
    tmp_path: Path,
) -> None:
    if head is not None:
        save_head(random_head(head[1], head[0], head[2]), tmp_path / "head.safetensors")
        changes = changes | {"head": tmp_path / "head.safetensors"}
    recipe = toy_recipe(tmp_path / "run", **changes)
    with pytest.raises(ValueError, match=message):
        build_task(recipe, model, ToyLoader(recipe).teachers)


@pytest.mark.parametrize(
    "changes",
    [
        {"task": "task-distillation"},
        {"head": Path("head.safetensors")},
        {"task": "reinforced", "teacher": "one"},
        {"distillation_temperature": 0.0},
    ],
)
def test_a_recipe_with_fields_of_another_task_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"head|teacher|distillation_temperature"):
        toy_recipe(Path("run"), **changes)
