"""What SAM-CLIP minimises (arXiv 2310.15308, section 3.2).

Everything here takes logits s of the student and z of the teacher, (…, h, w), and returns one
number of each mask, (…). All is differentiable in s, and 0 where s = z: the paper distils with
"focal and dice … adapted" and writes no formula, so of the forms that equal SAM's losses for hard
targets, or nearly, those are taken whose smallest value lies at the teacher's own answer.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from zoo.models.sam_clip.overlap import mask_iou

FOCAL_ALPHA, FOCAL_GAMMA = 0.25, 2.0
"""RetinaNet's (arXiv 1708.02002, section 5.1), which SAM took over."""
FOCAL_WEIGHT, DICE_WEIGHT, IOU_WEIGHT = 20.0, 1.0, 1.0
"""SAM's (arXiv 2304.02643, appendix A, "Losses"). SAM-CLIP's paper names neither the first two nor
a loss of the predicted IoU, without which SAM could no longer choose among its masks."""


def embedding_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Return (B,): 1 - cos of the embeddings (B, D)."""
    return 1 - F.cosine_similarity(student, teacher, dim=-1)


def mask_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Return 20 focal + 1 dice."""
    return FOCAL_WEIGHT * focal_loss(student, teacher) + DICE_WEIGHT * dice_loss(student, teacher)


def focal_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Return the mean over pixels of α_t · |σ(z) - σ(s)|^γ · BCE(σ(s), σ(z)).

    α_t = α σ(z) + (1 - α)(1 - σ(z)). This is the quality focal loss (arXiv 2006.04388, equation 3)
    with focal loss's α: for σ(z) of 0 or 1 it is focal loss. Focal loss of a soft target,
    Σ target · (1 - p)^γ · -log p over both outcomes, would be smallest elsewhere than at p = σ(z).
    """
    target = teacher.sigmoid()
    alpha = FOCAL_ALPHA * target + (1 - FOCAL_ALPHA) * (1 - target)
    distance = (target - student.sigmoid()).abs()
    surprise = F.binary_cross_entropy_with_logits(student, target, reduction="none")
    return (alpha * distance**FOCAL_GAMMA * surprise).mean(dim=(-2, -1))


def dice_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Return 1 - (2 Σ pq + 1) / (Σ p² + Σ q² + 1), p = σ(s) and q = σ(z).

    The squares are V-Net's (arXiv 1606.04797, section 3): the loss is Σ (p - q)² over the
    denominator. SAM's form, Σ p + Σ q below, is the same where both are 0 or 1, but for a soft q
    it is smallest at a p that is harder than q. The 1 keeps empty masks defined, as there.
    """
    p, q = student.sigmoid(), teacher.sigmoid()
    both = (p * q).sum(dim=(-2, -1))
    squares = (p * p + q * q).sum(dim=(-2, -1))
    return 1 - (2 * both + 1) / (squares + 1)


def iou_loss(
    predicted: Tensor, student: Tensor, teacher: Tensor, teacher_predicted: Tensor
) -> Tensor:
    """Return the squared error of the student's `predicted` IoU (…).

    What it should have said is the IoU that the teacher predicts of its mask, times the IoU of the
    student's mask with the teacher's. Where both give the same mask that is the teacher's
    prediction; where the teacher is the truth, whose own IoU is 1, it is what SAM was trained with.
    """
    target = teacher_predicted * mask_iou(student > 0, teacher > 0)
    return IOU_WEIGHT * (predicted - target).square()
