"""Class maps become prompts, and the decoder's masks become class maps again.

.venv/bin/pytest tests/models/sam_clip/test_refinement.py
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from colour_segmenter import colour_segmenter, stripes
from torch import Tensor
from torch.nn.functional import one_hot

from zoo.models.sam_clip.class_maps import MARGIN_LIMIT, classes_of, margins, with_background
from zoo.models.sam_clip.frame import Frame, enlarged
from zoo.models.sam_clip.prediction import Look
from zoo.models.sam_clip.prompts import Prompts
from zoo.models.sam_clip.refinement import (
    connected_regions,
    refined_by_points,
    refined_by_regions,
)

GRID = 8
WIDE = Look(
    frame=Frame(side=64, width=100, height=50),
    tokens=torch.zeros(1, GRID, GRID, 1),
    embedding=torch.zeros(1, 1, GRID, GRID),
)
"""Four rows of eight patches show the picture."""


class Echo:
    """In SAM's place: answers each prompt with its mask and `trust`, and remembers the prompts."""

    def __init__(self, trust: float = 1.0) -> None:
        self.trust = trust
        self.asked: list[Prompts] = []

    def decode_masks(self, embedding: Tensor, prompts: Prompts) -> tuple[Tensor, Tensor]:
        self.asked.append(prompts)
        assert prompts.masks is not None
        masks = (prompts.masks + 3).expand(-1, 4, -1, -1)
        return masks, torch.full(masks.shape[:2], self.trust)


def of_regions(rows: list[str], confidence: float = 8.0) -> Tensor:
    """Logits (3, GRID, GRID) of a class map drawn with the letters of classes."""
    drawn = torch.tensor([["abc".index(letter) for letter in row] for row in rows])
    classes = torch.full((GRID, GRID), 2)
    classes[: len(rows)] = drawn
    return confidence * one_hot(classes, 3).permute(2, 0, 1).float()


TWO = of_regions(["aaaabbbb"] * 4)


def test_each_class_prompts_with_points_of_its_own_and_its_map() -> None:
    sam: Any = Echo()
    refined = refined_by_points(sam, WIDE, TWO, None)
    (prompts,) = sam.asked
    assert prompts.masks is not None
    assert prompts.points.shape == (2, 4, 2) and prompts.masks.shape == (2, 1, 32, 32)
    assert prompts.labels.tolist() == [[1, 1, 1, -1]] * 2
    x, y = prompts.points[:, :3].unbind(dim=-1)
    assert (x[0] < 0.5).all() and (x[1] > 0.5).all() and (y < 0.5).all()
    assert torch.equal((x * GRID) % 1, torch.full_like(x, 0.5))
    assert all(len({tuple(p) for p in points[:3].tolist()}) == 3 for points in prompts.points)
    inside = prompts.masks[:, 0, :16]
    assert (inside[0, :, :14] > 0).all() and (inside[0, :, 18:] < 0).all()
    assert (prompts.masks[:, 0, 16:] == -MARGIN_LIMIT).all()
    assert torch.equal(refined[:2], prompts.masks[:, 0] + 3)
    assert (refined[2] == -torch.inf).all()  # it has the padding only


def test_a_picture_has_the_same_points_every_time() -> None:
    first, second = Echo(), Echo()
    for sam in (first, second):
        refined_by_points(sam, WIDE, TWO, None)  # pyright: ignore[reportArgumentType]
    assert torch.equal(first.asked[0].points, second.asked[0].points)


def test_a_class_that_is_nowhere_confident_prompts_with_its_likeliest_patch() -> None:
    logits = of_regions(["aaaabbbb"] * 4, confidence=0.1)
    logits[1, 2, 6] += 0.2
    sam: Any = Echo()
    refined_by_points(sam, WIDE, logits, None)
    assert sam.asked[0].labels.tolist() == [[1, -2, -2, -1]] * 2
    assert sam.asked[0].points[1, 0].tolist() == [6.5 / GRID, 2.5 / GRID]


def test_likely_patches_are_drawn_more_often() -> None:
    """Those of 0.99 than those of 0.53, half of the patches each; even draws take both alike."""
    generator = torch.Generator().manual_seed(0)
    taken = 0.0
    for _ in range(100):
        likely = (torch.randperm(4 * GRID, generator=generator) < 2 * GRID).reshape(4, GRID)
        logits = of_regions(["aaaaaaaa"] * 4, confidence=0.8)
        logits[0, :4][likely] = 8
        sam: Any = Echo()
        refined_by_points(sam, WIDE, logits, None)
        x, y = (sam.asked[0].points[0, :3] * GRID).long().unbind(dim=-1)
        taken += float(likely[y, x].float().mean())
    assert taken / 100 > 0.6


def test_background_prompts_nothing() -> None:
    logits = of_regions(["aaaabbbb"] * 4)
    logits[:, :, 4:] = 0  # every class has a third
    sam: Any = Echo()
    refined = refined_by_points(sam, WIDE, logits, 0.5)
    assert len(sam.asked[0].points) == 1 and (refined[1:] == -torch.inf).all()
    sam = Echo()
    refined_by_regions(sam, WIDE, logits, 0.5)
    assert len(sam.asked[0].points) == 1


def test_each_region_prompts_with_its_box_a_point_and_a_map_without_the_others() -> None:
    sam: Any = Echo()
    logits = of_regions(["aacccccc", "aaccccca", "ccccccaa", "ccccccaa"])
    refined_by_regions(sam, WIDE, logits, None)
    (prompts,) = sam.asked
    assert prompts.labels.tolist() == [[1, 2, 3]] * 3
    first, rest, second = prompts.points
    assert first[1].tolist() == [0, 0] and (first[2] - 0.25).abs().max() <= 1 / 32
    assert rest[1].tolist() == [0, 0] and rest[2].tolist() == [1, 0.5]
    assert (second[1] - torch.tensor([0.75, 0.125])).abs().max() <= 1 / 16
    assert second[2].tolist() == [1, 0.5]
    assert (first[0] < 0.25).all() and (second[0] > torch.tensor([0.75, 0.125])).all()
    masks = prompts.masks[:, 0]
    assert masks[0, 2, 2] > 0 and masks[0, 14, 30] == -MARGIN_LIMIT
    assert masks[2, 14, 30] > 0 and masks[2, 2, 2] == -MARGIN_LIMIT


def test_the_point_of_a_region_is_where_its_class_is_likeliest() -> None:
    """All margins are cut to the same."""
    logits = of_regions(["aaaaaaaa"] * 4, confidence=40)
    logits[0, 2, 5] += 5
    sam: Any = Echo()
    refined_by_regions(sam, WIDE, logits, None)
    point = sam.asked[0].points[0, 0]
    assert (point - torch.tensor([5.5, 2.5]) / GRID).abs().max() <= 0.5 / GRID


@pytest.mark.parametrize(("trust", "added"), [(0.91, 3), (0.9, 0)])
def test_a_mask_stands_for_its_region_where_it_is_trusted(trust: float, added: int) -> None:
    sam: Any = Echo(trust)
    refined = refined_by_regions(sam, WIDE, TWO, None)
    expected = margins(enlarged(TWO[None], *WIDE.mask_size)[0])
    torch.testing.assert_close(refined[:2, :16], expected[:2, :16] + added)
    assert (refined[2] == -torch.inf).all()


def test_a_trusted_mask_may_leave_a_part_of_its_region() -> None:
    class Nothing(Echo):
        def decode_masks(self, embedding: Tensor, prompts: Prompts) -> tuple[Tensor, Tensor]:
            masks, trust = super().decode_masks(embedding, prompts)
            return torch.full_like(masks, -2.0), trust

    sam: Any = Nothing()
    refined = refined_by_regions(sam, WIDE, TWO, None)
    assert (refined[:2, :16] <= -2 + 1e-6).sum() >= 16 * 32
    assert refined[0, :, :16].max() == -2


def test_regions_smaller_than_a_token_keep_their_margins() -> None:
    logits = of_regions(["bbbbbbbb"] * 4)
    logits[0, 1, 3] = 12  # above its rival in less than a patch
    sam: Any = Echo()
    refined = refined_by_regions(sam, WIDE, logits, None)
    assert len(sam.asked[0].points) == 1
    assert (refined[0] > 0).sum() < 16 and refined[0].max() > 0


@torch.no_grad()
def test_the_decoder_itself_is_asked_as_a_user_would() -> None:
    """One region, the whole picture: a box around it, its likeliest point and its map."""
    model = colour_segmenter()
    look = model.look(stripes("red"))
    logits = torch.zeros(2, *look.tokens.shape[1:3])
    logits[0] = 40
    logits[0, 3, 5] = 45
    refined = refined_by_regions(model, look, logits, None)
    mask = torch.full(look.mask_size, MARGIN_LIMIT)
    mask[32:] = -MARGIN_LIMIT
    height, width = look.mask_size
    points = torch.tensor([[[21.5 / width, 13.5 / height], [0, 0], [1, 0.5]]])
    prompts = Prompts(points, torch.tensor([[1, 2, 3]]), mask[None, None])
    expected = model.decode_masks(look.embedding, prompts)[0][0, 0]
    torch.testing.assert_close(refined[0], torch.maximum(expected, torch.full_like(mask, -10)))


def test_regions_touch_at_corners_too() -> None:
    """Against a flood fill, on noise and on a spiral."""
    generator = torch.Generator().manual_seed(0)
    for classes in (3, 5):
        noise = torch.randint(classes, (13, 17), generator=generator)
        assert torch.equal(connected_regions(noise), flooded(noise))
    spiral = torch.tensor(
        [[int(c) for c in row] for row in ("1111111", "0000001", "1111101", "1000101", "1011101")]
    )
    assert torch.equal(connected_regions(spiral), flooded(spiral))


def flooded(classes: Tensor) -> Tensor:
    regions = torch.full(classes.shape, -1)
    for y, x in ((y, x) for y in range(len(classes)) for x in range(classes.shape[1])):
        if regions[y, x] < 0:
            number, stack = int(regions.max()) + 1, [(y, x)]
            while stack:
                a, b = stack.pop()
                inside = 0 <= a < len(classes) and 0 <= b < classes.shape[1]
                if inside and regions[a, b] < 0 and classes[a, b] == classes[y, x]:
                    regions[a, b] = number
                    stack += [(a + i, b + j) for i in (-1, 0, 1) for j in (-1, 0, 1)]
    return regions


def test_a_margin_has_the_sign_of_the_class_map() -> None:
    logits = 3 * torch.randn(5, 6, 7, generator=torch.Generator().manual_seed(0))
    assert torch.equal((margins(logits) > 0).long().argmax(dim=0), logits.argmax(dim=0))
    assert ((margins(logits) > 0).sum(dim=0) == 1).all()
    two = logits[:2]
    log_odds = two.double().softmax(dim=0)[0].logit().clamp(-10, 10)
    torch.testing.assert_close(margins(two)[0].double(), log_odds, rtol=1e-5, atol=1e-5)
    assert (margins(logits[:1]) == MARGIN_LIMIT).all()


def test_the_background_wins_below_its_probability() -> None:
    logits = 3 * torch.randn(5, 20, 20, generator=torch.Generator().manual_seed(0))
    best = logits.softmax(dim=0).max(dim=0)
    expected = best.indices.where(best.values >= 0.7, -1)
    assert torch.equal(classes_of(with_background(logits, 0.7), 5), expected)
    assert with_background(logits, None) is logits
