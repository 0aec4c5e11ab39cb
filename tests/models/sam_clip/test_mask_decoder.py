"""Prompts become the masks that transformers' SAM gives with the same weights.

.venv/bin/pytest tests/models/sam_clip/test_mask_decoder.py
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from tests.helpers.realistic import relative_error
from tests.helpers.transformers_sam import DECODER, GRID, SIDE, heads_of, small_transformers_sam
from zoo.models.card import SamClipCard
from zoo.models.registry import get_card_of
from zoo.models.sam_clip.mask_decoder import MaskDecoder
from zoo.models.sam_clip.prompt_encoder import (
    ABSENT,
    BACKGROUND,
    BOTTOM_RIGHT,
    FOREGROUND,
    NOT_A_POINT,
    TOP_LEFT,
    PromptEncoder,
)
from zoo.models.sam_clip.prompts import Prompts
from zoo.models.sam_clip.sam_clip_model import SamClipModel

CORNERS = (TOP_LEFT, BOTTOM_RIGHT)


@pytest.fixture(scope="module")
def peer() -> Any:
    return small_transformers_sam()


@pytest.fixture(scope="module")
def model(peer: Any) -> SamClipModel:
    """A SAM-CLIP of nothing but the peer's heads."""
    prompt_encoder, mask_decoder = PromptEncoder(DECODER), MaskDecoder(DECODER)
    states = heads_of(peer)
    prompt_encoder.load_state_dict(states["prompt_encoder"])
    mask_decoder.load_state_dict(states["mask_decoder"])
    card, nothing = get_card_of(SamClipCard, "sam-clip-tiny"), torch.nn.Identity()
    head: Any = nothing
    return SamClipModel(
        card, nothing, head, prompt_encoder, mask_decoder, nothing, card.preprocessing
    ).eval()


def draw(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def pixels(seed: int, *shape: int) -> Tensor:
    return torch.randint(SIDE, shape, generator=torch.Generator().manual_seed(seed)).float()


def boxes(pictures: int, count: int) -> Tensor:
    ends = pixels(5, pictures, count, 2, 2).sort(dim=2).values
    return ends.flatten(2)


def fractions(at: Tensor) -> Tensor:
    """SAM reads a pixel at its middle."""
    return (at + 0.5) / SIDE


def ours(
    model: SamClipModel,
    embedding: Tensor,
    points: Tensor | None = None,
    labels: Tensor | None = None,
    boxes: Tensor | None = None,
    masks: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Our masks of the arguments that transformers' model takes: (pictures, prompts, …)."""
    pictures = len(embedding)
    per_picture = 1
    pieces, kinds = [], []
    if points is not None and labels is not None:
        per_picture = points.shape[1]
        pieces.append(fractions(points.flatten(0, 1)))
        kinds.append(labels.flatten(0, 1))
        if boxes is None:
            pieces.append(torch.zeros(len(pieces[0]), 1, 2))
            kinds.append(torch.full((len(pieces[0]), 1), NOT_A_POINT))
    if boxes is not None:
        per_picture = boxes.shape[1]
        pieces.append(fractions(boxes.flatten(0, 1).unflatten(-1, (2, 2))))
        kinds.append(torch.tensor([CORNERS] * len(pieces[-1])))
    one_for_all = pictures == 1
    prompts = Prompts(
        torch.cat(pieces, dim=1) if pieces else torch.zeros(pictures, 0, 2),
        torch.cat(kinds, dim=1) if kinds else torch.zeros(pictures, 0, dtype=torch.long),
        masks,
    )
    rows = embedding if one_for_all else embedding.repeat_interleave(per_picture, dim=0)
    with torch.no_grad():
        masks, iou = model.decode_masks(rows, prompts)
    return masks.unflatten(0, (pictures, per_picture)), iou.unflatten(0, (pictures, per_picture))


SINGLE = {"points": pixels(1, 1, 1, 1, 2), "labels": torch.full((1, 1, 1), FOREGROUND)}
SEVERAL = {
    "points": pixels(2, 1, 4, 3, 2),
    "labels": torch.tensor([[[1, 1, 0], [0, 0, 1], [1, 0, 1], [1, 1, 1]]]),
}
TWO_PICTURES = {
    "points": pixels(3, 2, 3, 2, 2),
    "labels": torch.tensor([[[1, 0]] * 3, [[FOREGROUND, BACKGROUND]] * 3]),
}
CASES = {
    "a point": SINGLE,
    "four prompts of points inside and outside": SEVERAL,
    "three boxes": {"boxes": boxes(1, 3)},
    "a box and a point": {**SINGLE, "boxes": boxes(1, 1)},
    "boxes and points of one picture": {**SEVERAL, "boxes": boxes(1, 4)},
    "a mask": {"masks": 4 * draw(6, 1, 1, 4 * GRID, 4 * GRID)},
    "a point and a mask": {**SINGLE, "masks": 4 * draw(7, 1, 1, 4 * GRID, 4 * GRID)},
    "a box and a mask": {"boxes": boxes(1, 1), "masks": draw(8, 1, 1, 4 * GRID, 4 * GRID)},
    "points of two pictures": TWO_PICTURES,
    "boxes of two pictures": {"boxes": boxes(2, 2)},
    "points and boxes of two pictures": {**TWO_PICTURES, "boxes": boxes(2, 3)},
}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.replace(" ", "-"))
@pytest.mark.parametrize("multimask", [False, True])
def test_masks_and_their_iou_are_sams(
    peer: Any, model: SamClipModel, case: str, multimask: bool
) -> None:
    prompts = CASES[case]
    pictures = 2 if "two pictures" in case else 1
    embedding = draw(9, pictures, DECODER.width, GRID, GRID)
    with torch.no_grad():
        expected = peer(
            image_embeddings=embedding,
            multimask_output=multimask,
            **{f"input_{name}": value for name, value in prompts.items()},
        )
    masks, iou = ours(model, embedding, **prompts)
    chosen = slice(1, None) if multimask else slice(0, 1)
    assert expected.pred_masks.std() > 0.1
    assert relative_error(masks[:, :, chosen], expected.pred_masks) < 1e-5
    assert relative_error(iou[:, :, chosen], expected.iou_scores) < 1e-5


def embedding_and_prompts(count: int) -> tuple[Tensor, Prompts]:
    labels = torch.full((count, 2), FOREGROUND)
    return draw(1, 1, DECODER.width, 5, 3), Prompts(pixels(2, count, 2, 2) / SIDE, labels)


def test_one_embedding_for_all_prompts_gives_what_a_row_for_each_does(model: SamClipModel) -> None:
    embedding, prompts = embedding_and_prompts(3)
    with torch.no_grad():
        shared = model.decode_masks(embedding, prompts)
        rows = model.decode_masks(embedding.expand(3, -1, -1, -1), prompts)
    assert shared[0].shape == (3, 4, 20, 12)
    for one, other in zip(shared, rows, strict=True):
        torch.testing.assert_close(one, other)


def test_prompts_do_not_change_each_others_masks(model: SamClipModel) -> None:
    embedding, prompts = embedding_and_prompts(3)
    alone = Prompts(prompts.points[1:2], prompts.labels[1:2])
    with torch.no_grad():
        together = model.decode_masks(embedding, prompts)[0][1:2]
        torch.testing.assert_close(together, model.decode_masks(embedding, alone)[0])


def test_prompts_of_unlike_numbers_of_points_share_a_batch(model: SamClipModel) -> None:
    embedding, prompts = embedding_and_prompts(2)
    labels = torch.tensor([[FOREGROUND, ABSENT, ABSENT], [*CORNERS, ABSENT]])
    points = torch.cat([prompts.points, torch.rand(2, 1, 2)], dim=1)
    with torch.no_grad():
        together, _ = model.decode_masks(embedding, Prompts(points, labels))
        for row, count in enumerate((1, 2)):
            alone = Prompts(points[row : row + 1, :count], labels[row : row + 1, :count])
            masks, _ = model.decode_masks(embedding, alone)
            torch.testing.assert_close(together[row : row + 1], masks)


def test_no_prompt_gives_no_mask(model: SamClipModel) -> None:
    masks, iou = model.decode_masks(*embedding_and_prompts(0))
    assert (masks.shape, iou.shape) == ((0, 4, 20, 12), (0, 4))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_gives_nearly_the_same_masks(
    model: SamClipModel, dtype: torch.dtype
) -> None:
    embedding, prompts = embedding_and_prompts(2)
    with torch.no_grad():
        expected, _ = model.decode_masks(embedding, prompts)
        with torch.autocast("cpu", dtype):
            masks, _ = model.decode_masks(embedding, prompts)
    assert masks.dtype == dtype
    assert relative_error(masks.float(), expected) < (0.05 if dtype == torch.bfloat16 else 0.01)


def test_gradients_reach_every_parameter_that_a_mask_prompt_uses(model: SamClipModel) -> None:
    embedding, prompts = embedding_and_prompts(2)
    masks, iou = model.decode_masks(embedding, prompts._replace(masks=draw(3, 2, 1, 20, 12)))
    (masks.square().mean() + iou.square().mean()).backward()
    for name, parameter in model.named_parameters():
        unused = ("no_mask_embed", "not_a_point_embed", "point_embeddings", "logit_scale")
        if not name.removeprefix("prompt_encoder.").startswith(unused):
            assert parameter.grad is not None and parameter.grad.any(), name
    model.zero_grad(set_to_none=True)
