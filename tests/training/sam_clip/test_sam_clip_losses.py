"""The losses against SAM's own and by hand, and that the teacher's answer is what they ask for.

Run: pytest tests/training/sam_clip/test_sam_clip_losses.py
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torchvision.ops import sigmoid_focal_loss

from zoo.models.sam_clip.overlap import mask_iou
from zoo.training.sam_clip.losses import (
    dice_loss,
    embedding_loss,
    focal_loss,
    iou_loss,
    mask_loss,
)

Loss = Callable[[Tensor, Tensor], Tensor]


def logits(seed: int = 0) -> Tensor:
    return 2 * torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(seed)).double()


HARD = torch.where(logits(1) > 0, 60.0, -60.0).double()


def plain_dice(student: Tensor, teacher: Tensor) -> Tensor:
    """SAM's: the sums in the denominator are not of squares."""
    p, q = student.sigmoid(), teacher.sigmoid()
    return 1 - (2 * (p * q).sum((-2, -1)) + 1) / ((p + q).sum((-2, -1)) + 1)


def plain_focal(student: Tensor, teacher: Tensor) -> Tensor:
    """Focal loss of both outcomes, each with its share of a soft target."""
    q = teacher.sigmoid()
    of_one, of_none = (
        sigmoid_focal_loss(student, torch.full_like(student, outcome), alpha=-1)
        for outcome in (1.0, 0.0)
    )
    return (q * of_one + (1 - q) * of_none).mean((-2, -1))


def gradient_at_equality(loss: Loss) -> Tensor:
    student = logits().requires_grad_()
    loss(student, logits()).sum().backward()
    assert student.grad is not None
    return student.grad.abs().max()


@pytest.mark.parametrize("loss", [focal_loss, dice_loss, mask_loss])
def test_the_teachers_own_answer_has_the_smallest_loss(loss: Loss) -> None:
    teacher = logits()
    assert torch.allclose(loss(teacher, teacher), torch.zeros(3).double())
    assert gradient_at_equality(loss) < 1e-12
    for seed in range(5):
        assert (loss(teacher + 0.1 * logits(seed), teacher) > 1e-6).all()


@pytest.mark.parametrize("loss", [plain_focal, plain_dice])
def test_the_losses_of_hard_targets_would_ask_for_another_answer(loss: Loss) -> None:
    assert gradient_at_equality(loss) > 1e-3


def test_for_hard_targets_the_focal_loss_is_sams() -> None:
    found = focal_loss(logits(), HARD)
    expected = sigmoid_focal_loss(logits(), HARD.sigmoid(), alpha=0.25, gamma=2)
    torch.testing.assert_close(found, expected.mean((-2, -1)))


def test_for_hard_masks_on_both_sides_the_dice_loss_is_sams() -> None:
    student = torch.where(logits() > 0, 60.0, -60.0).double()
    torch.testing.assert_close(dice_loss(student, HARD), plain_dice(student, HARD))


def test_the_losses_of_one_pixel_are_those_by_hand() -> None:
    # p = 0.5, q = 0.8: BCE = log 2, (q - p)² = 0.09, α_t = 0.25·0.8 + 0.75·0.2 = 0.35
    student, teacher = torch.zeros(1, 1), torch.logit(torch.tensor([[0.8]]))
    assert focal_loss(student, teacher).item() == pytest.approx(0.35 * 0.09 * 0.693147, rel=1e-5)
    assert dice_loss(student, teacher).item() == pytest.approx(0.09 / (0.25 + 0.64 + 1), rel=1e-5)


def test_the_losses_have_the_gradients_of_their_values() -> None:
    student = logits().requires_grad_()
    for loss in (focal_loss, dice_loss):
        assert torch.autograd.gradcheck(loss, (student, logits(3)))


def test_embeddings_are_compared_by_their_direction() -> None:
    a, b = torch.tensor([[3.0, 0.0], [0.0, 2.0]]), torch.tensor([[5.0, 0.0], [1.0, 1.0]])
    expected = torch.tensor([0.0, 1 - 0.5**0.5])
    torch.testing.assert_close(embedding_loss(a, b), expected)


def test_the_predicted_iou_is_held_against_the_truth_or_against_the_teachers() -> None:
    left, right = torch.full((2, 2), -9.0), torch.full((2, 2), -9.0)
    left[0], right[:, 0] = 9.0, 9.0  # share one pixel of three
    assert mask_iou(left > 0, right > 0).item() == pytest.approx(1 / 3)
    nothing = torch.full((2, 2), -9.0)
    assert mask_iou(nothing > 0, nothing > 0) == 1 and mask_iou(nothing > 0, left > 0) == 0
    said = torch.tensor(0.5)
    of_truth = iou_loss(said, left, right, torch.tensor(1.0))
    assert of_truth.item() == pytest.approx((0.5 - 1 / 3) ** 2)
    same_mask = iou_loss(said, left, left, torch.tensor(0.7))
    assert same_mask.item() == pytest.approx(0.04)
