"""Predicted masks are compared with reference masks of the same prompts.

pytest tests/eval/segmentation/test_mask_agreement.py
"""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from zoo.eval.segmentation.mask_agreement import (
    MaskAgreement,
    PromptedPicture,
    mask_agreement,
    prompt_ious,
)
from zoo.models.load import load_model
from zoo.models.sam_clip.overlap import mask_iou
from zoo.models.sam_clip.prompt_encoder import (
    BOTTOM_RIGHT,
    FOREGROUND,
    NOT_A_POINT,
    TOP_LEFT,
)
from zoo.models.sam_clip.sam_clip_model import Prompts, SamClipModel

SIDE = 64
KINDS = ("point", "box", "box+point")
LABELS = torch.tensor(
    [
        [FOREGROUND, NOT_A_POINT, NOT_A_POINT],
        [TOP_LEFT, BOTTOM_RIGHT, NOT_A_POINT],
        [FOREGROUND, TOP_LEFT, BOTTOM_RIGHT],
    ]
)
POINTS = torch.tensor(
    [
        [[0.4, 0.4], [0, 0], [0, 0]],
        [[0.2, 0.2], [0.7, 0.6], [0, 0]],
        [[0.4, 0.4], [0.2, 0.2], [0.7, 0.6]],
    ]
)


@pytest.fixture(scope="module")
def sam() -> SamClipModel:
    torch.manual_seed(0)
    return load_model("sam-clip-tiny", weights=None)


@torch.no_grad()
def answered_by(sam: SamClipModel, pixels: Tensor) -> PromptedPicture:
    """The picture with what `sam` itself answers, each prompt in the form that SAM has it in."""
    embedding = sam.mask_embedding(sam.tokens(sam.preprocessing.normalize(pixels)[None]))
    point, _ = sam.decode_masks(embedding, Prompts(POINTS[:1, :2], LABELS[:1, :2]))
    box, _ = sam.decode_masks(embedding, Prompts(POINTS[1:2, :2], LABELS[1:2, :2]))
    both, _ = sam.decode_masks(embedding, Prompts(POINTS[2:], LABELS[2:]))
    valid = torch.tensor([[True, True, True], [True, False, False], [True, False, False]])
    ignored = torch.full_like(box[:, :2], float("nan"))
    logits = torch.cat(
        [point[:, 1:], *(torch.cat([mask[:, :1], ignored], dim=1) for mask in (box, both))]
    )
    return PromptedPicture(
        pixels=pixels, prompts=Prompts(POINTS, LABELS), kinds=KINDS, logits=logits, valid=valid
    )


@pytest.fixture
def picture(sam: SamClipModel) -> PromptedPicture:
    pixels = torch.randint(
        256, (3, SIDE, SIDE), dtype=torch.uint8, generator=torch.Generator().manual_seed(1)
    )
    return answered_by(sam, pixels)


def test_iou_is_the_shared_part_of_two_masks():
    left, right = torch.zeros(2, 4, 4, dtype=torch.bool)
    left[:, :2] = True
    right[:2] = True
    assert mask_iou(left, right).item() == pytest.approx(4 / 12)
    assert mask_iou(left, ~left).item() == 0


def test_two_empty_masks_agree():
    empty = torch.zeros(2, 4, 4, dtype=torch.bool)
    assert mask_iou(empty, empty).tolist() == [1, 1]


def test_a_model_agrees_with_itself_for_every_kind_of_prompt(sam, picture):
    found = mask_agreement(sam, [picture])
    assert found == dict.fromkeys(
        ("mask_iou", "mask_iou/point", "mask_iou/box", "mask_iou/box+point"), 1.0
    )


def test_opposite_references_have_nothing_in_common_with_the_masks(sam, picture):
    assert prompt_ious(sam, replace(picture, logits=-picture.logits)).max() == 0


def test_each_of_a_points_three_masks_is_compared_with_its_own_reference(sam, picture):
    shifted = picture.logits.clone()
    shifted[0] = -shifted[0]
    shifted[0, 1] = picture.logits[0, 1]
    ious = prompt_ious(sam, replace(picture, logits=shifted))
    assert ious.tolist() == pytest.approx([1 / 3, 1, 1])


def test_the_mask_that_the_model_trusts_most_answers_a_point_with_one_reference(sam, picture):
    with torch.no_grad():
        pixels = sam.preprocessing.normalize(picture.pixels)[None]
        embedding = sam.mask_embedding(sam.tokens(pixels))
        masks, trust = sam.decode_masks(embedding, Prompts(POINTS[:1, :2], LABELS[:1, :2]))
    one = picture.valid.clone()
    one[0] = torch.tensor([True, False, False])
    logits = picture.logits.clone()
    logits[0, 0] = masks[0, 1 + int(trust[0, 1:].argmax())]
    assert prompt_ious(sam, replace(picture, logits=logits, valid=one))[0] == 1
    logits[0, 0] = -logits[0, 0]
    assert prompt_ious(sam, replace(picture, logits=logits, valid=one))[0] == 0


def test_references_of_another_resolution_are_compared_at_theirs(sam, picture):
    logits = F.interpolate(picture.logits, scale_factor=2, mode="bilinear", align_corners=False)
    assert prompt_ious(sam, replace(picture, logits=logits)).tolist() == [1, 1, 1]


def test_means_are_over_prompts_and_over_those_of_a_kind():
    agreement = MaskAgreement()
    agreement.add(["point", "box"], torch.tensor([0.25, 0.5]))
    agreement.add(["point"], torch.tensor([0.75]))
    assert agreement.metrics() == {
        "mask_iou": 0.5,
        "mask_iou/box": 0.5,
        "mask_iou/point": 0.5,
    }


def test_no_prompt_at_all_is_an_error():
    with pytest.raises(ValueError, match="at least one"):
        MaskAgreement().metrics()


def test_a_picture_has_one_kind_for_each_prompt(picture):
    with pytest.raises(ValueError, match="kinds are 1 for 3 prompts"):
        replace(picture, kinds=("box",))
