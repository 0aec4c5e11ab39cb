"""Class maps of the CLIP head, drawn again by SAM's decoder from the same pass of the tower.

Sources: SAM-CLIP (arXiv 2310.15308), section 4.4 and appendix, for points; Trident and RADSeg+
(`radseg/sam_utils.py`), which followed it, for regions.

Shape suffixes: C classes, K of them present, R regions, h and w the grid of tokens.
"""

from __future__ import annotations

import torch
from torch import Tensor

from zoo.models.sam_clip.class_maps import (
    BACKGROUND_CLASS,
    MARGIN_LIMIT,
    classes_of,
    margins,
    with_background,
)
from zoo.models.sam_clip.frame import enlarged
from zoo.models.sam_clip.prediction import THE_MASK, Look, MaskModel, answers
from zoo.models.sam_clip.prompt_encoder import (
    ABSENT,
    BOTTOM_RIGHT,
    FOREGROUND,
    MASK_PROMPT_SCALE,
    NOT_A_POINT,
    TOP_LEFT,
)
from zoo.models.sam_clip.prompts import Prompts

POINTS = 3
"""Points drawn of each class; the paper takes one to three."""
CONFIDENT = 0.5
"""Probability from which on a patch may be drawn. The paper says that "the logit" exceeds 0.5 and
not which logit; a probability is the only one of its scores that has a scale of its own."""
TRUSTED_IOU = 0.9
"""Predicted IoU from which on a mask replaces its region (RADSeg+)."""
_SEED = 0
"""Of the draw, so that a picture has one answer."""


def refined_by_points(
    model: MaskModel, seen: Look, logits: Tensor, background: float | None
) -> Tensor:
    """Return the decoder's logits (C, 4h, 4w) of class logits (C, h, w): the paper's refinement.

    Every class that has a patch of the map prompts the decoder once, with points drawn among its
    confident patches and its map of margins. The paper does not say how it scales the map; SAM
    reads logits whose sign is the mask, which margins are. Absent classes are -inf.
    """
    rows = with_background(logits, background)
    classes = len(logits)
    height, width = seen.frame.covered(*logits.shape[1:])
    found = classes_of(rows[:, :height, :width], classes)
    present = [number for number in found.unique().tolist() if number != BACKGROUND_CLASS]
    refined = logits.new_full((classes, *seen.mask_size), -torch.inf)
    if present:
        probabilities = logits.softmax(dim=0)[present, :height, :width]
        points, labels = _drawn_points(probabilities, seen)
        masks = enlarged(margins(rows)[present][None], *seen.mask_size)[0]
        prompts = Prompts(points, labels, _unpadded(seen, masks)[:, None])
        decoded = [drawn[:, 0] for drawn, _ in answers(model, seen, prompts, THE_MASK)]
        refined[present] = torch.cat(decoded)
    return refined


def refined_by_regions(
    model: MaskModel, seen: Look, logits: Tensor, background: float | None
) -> Tensor:
    """Return logits (C, 4h, 4w) of class logits (C, h, w), region by region.

    Each 8-connected region of the class map prompts the decoder with its box, its point of greatest
    logit and its map of margins. A mask that the decoder trusts stands for the region; elsewhere
    the margins remain, as they do for regions smaller than a token. Absent classes are -inf.

    Regions are those of the map at the decoder's resolution, which is finer than the map itself and
    that of the prompt and the answer; RADSeg+ takes half of the picture's.
    """
    rows = with_background(enlarged(logits[None], *seen.mask_size)[0], background)
    height, width = seen.frame.covered(*seen.mask_size)
    found = torch.full(seen.mask_size, BACKGROUND_CLASS, device=rows.device)
    found[:height, :width] = classes_of(rows[:, :height, :width], len(logits))
    maps = _unpadded(seen, margins(rows)[: len(logits)])
    trusted = _trusted_masks(model, seen, rows, maps, found)
    for number, region, _ in trusted:
        maps[number, region] = -MARGIN_LIMIT
    for number, _, mask in trusted:
        maps[number] = torch.maximum(maps[number], mask)
    absent = [number for number in range(len(logits)) if not (found == number).any()]
    maps[absent] = -torch.inf
    return maps


def connected_regions(classes: Tensor) -> Tensor:
    """Return the number int64 (H, W) of each pixel's 8-connected region of one class in (H, W),
    counted from 0 in the order of their first pixels.

    Every pixel begins as its own region; regions that touch take the lowest number among them,
    until none touch.
    """
    here, there = _touching(classes)
    roots = torch.arange(classes.numel(), device=classes.device)
    while not torch.equal(roots[here], roots[there]):
        a, b = roots[here], roots[there]
        roots = roots.scatter_reduce(0, torch.maximum(a, b), torch.minimum(a, b), "amin")
        while not torch.equal(roots[roots], roots):
            roots = roots[roots]
    return roots.unique(return_inverse=True)[1].reshape(classes.shape)


def _touching(classes: Tensor) -> tuple[Tensor, Tensor]:
    """Pixels, and for each a neighbour of its class: right, below, and below on either side."""
    index = torch.arange(classes.numel(), device=classes.device).reshape(classes.shape)
    pairs = [
        (index[:, :-1], index[:, 1:]),
        (index[:-1], index[1:]),
        (index[:-1, :-1], index[1:, 1:]),
        (index[:-1, 1:], index[1:, :-1]),
    ]
    here = torch.cat([one.flatten() for one, _ in pairs])
    there = torch.cat([other.flatten() for _, other in pairs])
    same = classes.flatten()[here] == classes.flatten()[there]
    return here[same], there[same]


def _drawn_points(probabilities: Tensor, seen: Look) -> tuple[Tensor, Tensor]:
    """Points (K, POINTS + 1, 2) and labels of classes with probabilities (K, rows, columns).

    Drawn without repetition, likely patches more often ("importance sampling on confidence"); a
    class without a confident patch has its likeliest. The last is the one that SAM adds to points
    without a box.
    """
    generator = torch.Generator().manual_seed(_SEED)
    points = torch.zeros(len(probabilities), POINTS + 1, 2)
    labels = torch.tensor([[ABSENT] * POINTS + [NOT_A_POINT]]).repeat(len(probabilities), 1)
    for row, one in enumerate(probabilities.float().cpu()):
        weights = torch.where(one > CONFIDENT, one, 0.0).flatten()
        count = min(POINTS, int(weights.count_nonzero()))
        if count:
            places = torch.multinomial(weights, count, generator=generator)
        else:
            places = one.argmax().reshape(1)
        points[row, : len(places)] = _patch_centres(places, one.shape[1], seen)
        labels[row, : len(places)] = FOREGROUND
    return points, labels


def _patch_centres(places: Tensor, columns: int, seen: Look) -> Tensor:
    """Fractions of the square of patches, counted row by row; within the picture."""
    y, x = places // columns, places % columns
    rows_of_square, columns_of_square = seen.tokens.shape[1:3]
    centres = torch.stack([(x + 0.5) / columns_of_square, (y + 0.5) / rows_of_square], dim=-1)
    return torch.minimum(centres, torch.tensor(seen.frame.inner) / seen.frame.side)


def _unpadded(seen: Look, maps: Tensor) -> Tensor:
    """Margins (K, 4h, 4w) where nothing is of any class beyond the picture."""
    height, width = seen.frame.covered(*seen.mask_size)
    inside = torch.zeros(seen.mask_size, dtype=torch.bool, device=maps.device)
    inside[:height, :width] = True
    return maps.masked_fill(~inside, -MARGIN_LIMIT)


def _trusted_masks(
    model: MaskModel, seen: Look, rows: Tensor, maps: Tensor, found: Tensor
) -> list[tuple[int, Tensor, Tensor]]:
    """Class, region and mask (4h, 4w) of every region whose mask the decoder trusts.

    A region's prompt has its class's margins (`maps`); what other regions of the class cover is not
    its. Its point is sought in the logits (`rows`), since margins are cut.
    """
    numbers = connected_regions(found)
    large = (numbers.flatten().bincount() >= MASK_PROMPT_SCALE**2).nonzero().flatten().tolist()
    regions = [numbers == number for number in large]
    named = [(int(found[region][0]), region) for region in regions]
    named = [(number, region) for number, region in named if number != BACKGROUND_CLASS]
    if not named:
        return []
    masks = [
        maps[number].masked_fill((found == number) & ~region, -MARGIN_LIMIT)
        for number, region in named
    ]
    points = [_box_and_point(region, rows[number]) for number, region in named]
    labels = torch.tensor([[FOREGROUND, TOP_LEFT, BOTTOM_RIGHT]]).expand(len(named), -1)
    prompts = Prompts(torch.stack(points), labels, torch.stack(masks)[:, None])
    drawn = [
        (mask, score)
        for some, scores in answers(model, seen, prompts, THE_MASK)
        for mask, score in zip(some[:, 0], scores[:, 0].tolist(), strict=True)
    ]
    return [
        (number, region, mask)
        for (number, region), (mask, score) in zip(named, drawn, strict=True)
        if score > TRUSTED_IOU
    ]


def _box_and_point(region: Tensor, logits: Tensor) -> Tensor:
    """A region's point of greatest logit, its upper left and its lower right, fractions (3, 2)."""
    rows, columns = region.shape
    size = torch.tensor([columns, rows])
    y, x = (places.cpu() for places in region.nonzero(as_tuple=True))
    best = int(logits.masked_fill(~region, -torch.inf).argmax())
    point = torch.tensor([best % columns + 0.5, best // columns + 0.5])
    first, last = torch.stack([x.min(), y.min()]), torch.stack([x.max(), y.max()]) + 1
    return torch.stack([point, first, last]) / size
