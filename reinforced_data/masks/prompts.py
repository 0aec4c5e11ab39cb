"""The prompts that a picture is asked with, drawn once and recorded.

SAM-CLIP's paper names the prompts of its training nowhere (only "prompts g" and 32 masks a
picture). Here a third are a single point, a third a box and a third a box with a point, the three
that its evaluation and SAM's use (points in refinement, boxes for instances). They are drawn as in
SAM's training (arXiv 2304.02643, appendix A): a point anywhere in the mask, a box whose coordinates
are moved by noise of a tenth of its side, at most 20 of 1024 pixels. SAM's ten further rounds of
points, which answer the model's own mistakes, cannot be recorded.
"""

from __future__ import annotations

import math
from typing import NamedTuple, Self

import numpy as np
import torch

from zoo.models.sam_clip.frame import Frame
from zoo.models.sam_clip.prompt_encoder import (
    BOTTOM_RIGHT,
    FOREGROUND,
    NOT_A_POINT,
    TOP_LEFT,
)
from zoo.reinforced_data.masks.instances import Instances

POINT, BOX, BOX_AND_POINT = 0, 1, 2
"""Kinds of prompts."""
TOKENS = {POINT: 2, BOX: 2, BOX_AND_POINT: 3}
"""Points of each kind that the prompt encoder sees: SAM adds one that is none to a single point,
and nothing to a box."""
MOST_POINTS = 3
POLICY = "thirds of point, box, box and point; as SAM draws them, or a grid of points; version 1"
"""Stands in the sidecar's header."""

_BOX_NOISE = 0.1
_MOST_BOX_NOISE = 20 / 1024
_NO_INSTANCE = -1


class PromptRows(NamedTuple):
    """R prompts of one picture."""

    kinds: np.ndarray
    """uint8 (R,)"""
    points: np.ndarray
    """float32 (R, 3, 2): x and y as fractions of the square, zeros where there is no point."""
    labels: np.ndarray
    """int8 (R, 3): those of the prompt encoder, NOT_A_POINT where there is no point."""
    instances: np.ndarray
    """int64 (R,): which instance is asked for, -1 on a grid."""

    @classmethod
    def empty(cls, count: int) -> Self:
        """Return `count` prompts that ask nothing yet."""
        return cls(
            np.zeros(count, np.uint8),
            np.zeros((count, MOST_POINTS, 2), np.float32),
            np.full((count, MOST_POINTS), NOT_A_POINT, np.int8),
            np.full(count, _NO_INSTANCE),
        )


def draw_prompts(
    rng: np.random.Generator, instances: Instances, frame: Frame, count: int
) -> tuple[PromptRows, dict[int, np.ndarray]]:
    """Return `count` prompts and the masks bool (H, W) of the instances that they ask for.

    Instances come in random order, and again, each time with another prompt, where there are fewer
    than `count`. Without an instance that shows there are no prompts and no masks.
    """
    masks = _shown(rng, instances, count)
    if not masks:
        return PromptRows.empty(0), {}
    rows = PromptRows.empty(count)
    rows.instances[:] = np.resize(list(masks), count)
    rows.kinds[:] = rng.integers(0, len(TOKENS), count)
    for row, instance in enumerate(rows.instances.tolist()):
        points, labels = _draw(rng, int(rows.kinds[row]), masks[instance], frame)
        rows.points[row, : len(points)] = points
        rows.labels[row, : len(labels)] = labels
    return rows, masks


def grid_prompts(frame: Frame, count: int) -> PromptRows:
    """Return single points on a regular grid over the picture, at most `count` of them.

    SAM's "everything" mode (`automatic_mask_generator.py`): n x n points, in the middle of n x n
    cells. For pictures of which no instance is known.
    """
    side = math.isqrt(count)
    rows = PromptRows.empty(side * side)
    middles = (np.arange(side) + 0.5) / side
    grid = np.stack(np.meshgrid(middles, middles), axis=-1).reshape(-1, 2)
    rows.points[:, 0] = grid * _extent(frame)
    rows.labels[:, 0] = FOREGROUND
    return rows


def _shown(rng: np.random.Generator, instances: Instances, count: int) -> dict[int, np.ndarray]:
    """Up to `count` instances in random order whose masks are not empty."""
    masks: dict[int, np.ndarray] = {}
    for i in rng.permutation(len(instances)).tolist():
        mask = instances.mask(i)
        if mask.any():
            masks[i] = mask
        if len(masks) == count:
            break
    return masks


def _draw(
    rng: np.random.Generator, kind: int, mask: np.ndarray, frame: Frame
) -> tuple[np.ndarray, list[int]]:
    if kind == POINT:
        return _point(rng, mask, frame), [FOREGROUND]
    corners = _box(rng, mask, frame)
    if kind == BOX:
        return corners, [TOP_LEFT, BOTTOM_RIGHT]
    points = np.concatenate([corners, _point(rng, mask, frame)])
    return points, [TOP_LEFT, BOTTOM_RIGHT, FOREGROUND]


def _point(rng: np.random.Generator, mask: np.ndarray, frame: Frame) -> np.ndarray:
    """One of the mask's pixels, each as likely: float32 (1, 2)."""
    inside = np.flatnonzero(mask)
    y, x = divmod(int(inside[rng.integers(len(inside))]), mask.shape[1])
    return frame.fractions(torch.tensor([[x, y]])).numpy()


def _box(rng: np.random.Generator, mask: np.ndarray, frame: Frame) -> np.ndarray:
    """The corners of the box around the mask, moved by noise: (2, 2)."""
    columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
    edges = [[columns[0], rows[0]], [columns[-1] + 1, rows[-1] + 1]]
    corners = frame.fractions(torch.from_numpy(np.array(edges))).numpy()
    noise = rng.normal(0, _BOX_NOISE, (2, 2)) * (corners[1] - corners[0])
    moved = corners + noise.clip(-_MOST_BOX_NOISE, _MOST_BOX_NOISE)
    return moved.clip(0, _extent(frame))


def _extent(frame: Frame) -> np.ndarray:
    """Width and height of the picture as fractions of the square: float64 (2,)."""
    return np.array(frame.inner) / frame.side
