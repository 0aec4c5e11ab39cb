"""The losses equal the published formula: stored reference values and a re-derivation in numpy.

Run: pytest tests/training/losses/test_losses.py
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest
import torch
from feature_pairs import random_features
from torch import Tensor

from zoo.training.losses.contrastive import contrastive_loss
from zoo.training.losses.distillation import TeacherPair, distillation_loss

FIXTURE = Path(__file__).parent.parent.parent / "fixtures" / "dr_loss.npz"
STUDENT_SCALE = 100.0
LAMBDA = 0.75  # the stored terms carry their weights 0.25 and 0.75


def load_fixture() -> dict[str, Tensor]:
    with np.load(FIXTURE) as stored:
        return {key: torch.from_numpy(stored[key]) for key in stored.files}


def teacher_pairs(images: Tensor, texts: Tensor, scales: Iterable[float]) -> list[TeacherPair]:
    """Two teachers stored side by side: six columns each."""
    columns = zip(images.split(6, dim=1), texts.split(6, dim=1), scales, strict=True)
    return [TeacherPair(image, text, scale) for image, text, scale in columns]


def softmax_rows(logits: np.ndarray) -> np.ndarray:
    """Row by row and entry by entry, so that it shares nothing with what it checks."""
    rows = [[np.exp(x - row.max()) for x in row] for row in logits]
    return np.array([[value / sum(row) for value in row] for row in rows])


def naive_loss(
    image: np.ndarray, text: np.ndarray, scale: float, targets: tuple[np.ndarray, np.ndarray]
) -> float:
    """½ Σ over both directions of the mean cross-entropy towards `targets`."""
    total = 0.0
    for queries, candidates, target in ((image, text, targets[0]), (text, image, targets[1])):
        student = softmax_rows(scale * queries @ candidates.T)
        rows = [float(t @ np.log(s)) for t, s in zip(target, student, strict=True)]
        total -= 0.5 * sum(rows) / len(rows)
    return total


def naive_targets(teachers: list[TeacherPair]) -> tuple[np.ndarray, np.ndarray]:
    image_to_text = [softmax_rows(s * i.numpy() @ t.numpy().T) for i, t, s in teachers]
    text_to_image = [softmax_rows(s * t.numpy() @ i.numpy().T) for i, t, s in teachers]
    return np.mean(image_to_text, axis=0), np.mean(text_to_image, axis=0)


def finite_difference(
    function: Callable[[Tensor], float], point: Tensor, direction: Tensor
) -> float:
    step = 1e-6
    ahead, behind = function(point + step * direction), function(point - step * direction)
    return (ahead - behind) / (2 * step)


@pytest.mark.parametrize("scales", [(100, 100), (70, 60)])
def test_both_terms_equal_the_reference_values(scales: tuple[int, int]) -> None:
    stored = load_fixture()
    contrastive = distillation = torch.zeros((), dtype=torch.float64)
    for caption in ("text", "synthetic"):
        text = stored[caption]
        teachers = teacher_pairs(stored["teacher_image"], stored[f"teacher_{caption}"], scales)
        contrastive = contrastive + contrastive_loss(stored["image"], text, STUDENT_SCALE)
        distillation = distillation + distillation_loss(
            stored["image"], text, STUDENT_SCALE, teachers
        )
    suffix = f"{scales[0]}_{scales[1]}"
    expected_contrastive = stored[f"contrastive_{suffix}"].item()
    expected_distillation = stored[f"distillation_{suffix}"].item()
    assert (1 - LAMBDA) * contrastive.item() == pytest.approx(expected_contrastive, rel=1e-12)
    assert LAMBDA * distillation.item() == pytest.approx(expected_distillation, rel=1e-12)


@pytest.mark.parametrize(("batch", "teachers"), [(1, 1), (5, 1), (7, 3)])
def test_values_equal_a_naive_derivation(batch: int, teachers: int) -> None:
    image, text = random_features(2, batch, 9, seed=1)
    pairs = [
        TeacherPair(*random_features(2, batch, 4 + k, seed=10 + k), logit_scale=5.0 + 3 * k)
        for k in range(teachers)
    ]
    eye = np.eye(batch)
    plain = naive_loss(image.numpy(), text.numpy(), 8.0, (eye, eye))
    taught = naive_loss(image.numpy(), text.numpy(), 8.0, naive_targets(pairs))
    assert contrastive_loss(image, text, 8.0).item() == pytest.approx(plain, rel=1e-12)
    assert distillation_loss(image, text, 8.0, pairs).item() == pytest.approx(taught, rel=1e-12)


@pytest.mark.parametrize("argument", ["image_features", "text_features", "logit_scale"])
@pytest.mark.parametrize("kind", ["contrastive", "distillation"])
def test_gradients_equal_those_of_the_naive_derivation(kind: str, argument: str) -> None:
    image, text = random_features(2, 6, 5, seed=2)
    point = {
        "image_features": image,
        "text_features": text,
        "logit_scale": torch.tensor(7.0, dtype=torch.float64),
    }
    pairs = [TeacherPair(*random_features(2, 6, 3, seed=3), logit_scale=9.0)]
    targets = naive_targets(pairs) if kind == "distillation" else (np.eye(6), np.eye(6))

    def naive(value: Tensor) -> float:
        at = point | {argument: value}
        arrays = at["image_features"].numpy(), at["text_features"].numpy()
        return naive_loss(*arrays, float(at["logit_scale"]), targets)

    inputs = {name: value.clone().requires_grad_() for name, value in point.items()}
    arguments = (inputs["image_features"], inputs["text_features"], inputs["logit_scale"])
    loss = contrastive_loss(*arguments)
    if kind == "distillation":
        loss = distillation_loss(*arguments, pairs)
    loss.backward()
    gradient = inputs[argument].grad
    assert gradient is not None
    noise = torch.Generator().manual_seed(4)
    for _ in range(3):
        direction = torch.randn(gradient.shape, generator=noise, dtype=torch.float64)
        measured = finite_difference(naive, point[argument], direction)
        assert (gradient * direction).sum().item() == pytest.approx(measured, rel=1e-6, abs=1e-9)


def test_a_student_equal_to_its_teacher_has_no_gradient() -> None:
    image, text = (f.clone().requires_grad_() for f in random_features(2, 6, 5, seed=5))
    scale = torch.tensor(12.0, dtype=torch.float64, requires_grad=True)
    teacher = TeacherPair(image.detach(), text.detach(), 12.0)
    loss = distillation_loss(image, text, scale, [teacher])
    loss.backward()
    for leaf in (image, text, scale):
        assert leaf.grad is not None and leaf.grad.abs().max() < 1e-14
    worse = distillation_loss(image.detach().roll(1, 0), text.detach(), 12.0, [teacher])
    assert worse > loss + 0.1


def test_each_direction_has_probabilities_of_its_own() -> None:
    """The reference once transposed a softmax over texts: its rows do not sum to one. Against a
    uniform student the loss is log(B) for every proper target, and something else for that one.
    """
    uniform = torch.ones(4, 3, dtype=torch.float64) / 3**0.5
    image, text = random_features(2, 4, 6, seed=6)
    loss = distillation_loss(uniform, uniform, 1.0, [TeacherPair(image, text, 50.0)])
    assert loss.item() == pytest.approx(np.log(4), rel=1e-12)


def test_exchanging_images_and_texts_changes_nothing() -> None:
    image, text = random_features(2, 4, 6, seed=6)
    student_image, student_text = random_features(2, 4, 5, seed=7)
    loss = distillation_loss(student_image, student_text, 9.0, [TeacherPair(image, text, 50.0)])
    swapped = distillation_loss(student_text, student_image, 9.0, [TeacherPair(text, image, 50.0)])
    assert loss.item() == pytest.approx(swapped.item(), rel=1e-12)


def test_distillation_without_a_teacher_says_so() -> None:
    image, text = random_features(2, 4, 5, seed=8)
    with pytest.raises(ValueError, match="at least one teacher"):
        distillation_loss(image, text, 1.0, [])


def test_features_that_do_not_match_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(4, 5\) and \(3, 5\)"):
        contrastive_loss(random_features(4, 5, seed=9), random_features(3, 5, seed=9), 1.0)
