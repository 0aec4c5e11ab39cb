"""Prompts: as a user gives them, in pixels of the picture, and as the model takes them.

Shape suffixes: N prompts, P points of a prompt, h and w the grid of tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from zoo.models.sam_clip.frame import Frame
from zoo.models.sam_clip.prompt_encoder import (
    BACKGROUND,
    BOTTOM_RIGHT,
    FOREGROUND,
    NOT_A_POINT,
    TOP_LEFT,
)

Numbers = Sequence[object] | np.ndarray | Tensor
"""Nested lists, an array or a tensor."""
_SLACK = 1.0
"""Pixels that a coordinate may lie outside of the picture: those of boxes are often rounded."""


class Prompts(NamedTuple):
    """Prompts of one form, for one picture or for several."""

    points: Tensor
    """float32 (N, P, 2): x and y as fractions, 0…1, of the square that the tower sees."""
    labels: Tensor
    """int64 (N, P): the constants of `zoo.models.sam_clip.prompt_encoder`."""
    masks: Tensor | None = None
    """float32 (N, 1, 4h, 4w): logits as SAM puts them out; None without mask prompts."""

    @property
    def ambiguous(self) -> bool:
        """Whether each is one point alone, which may mean a part, the object or more."""
        alone = self.masks is None and self.labels.shape[1] == 2
        return alone and bool((self.labels[:, 1] == NOT_A_POINT).all())


def read_prompts(
    frame: Frame,
    mask_size: tuple[int, int],
    *,
    points: Numbers | None = None,
    point_labels: Numbers | None = None,
    boxes: Numbers | None = None,
    mask: Numbers | None = None,
) -> Prompts:
    """Return the prompts of a user for the picture in `frame`.

    `points`: (N, P, 2), or (P, 2) of one prompt, x and y in pixels. `point_labels`: (N, P) or (P,),
    1 inside of the object and 0 outside; all inside where None. `boxes`: (N, 4) or (4,), left, top,
    right and bottom in pixels. `mask`: logits (N, 4h, 4w) or (4h, 4w), `mask_size` = (4h, 4w).

    Raises ValueError for what has another form, lies outside of the picture, or says nothing.
    """
    if points is None and point_labels is not None:
        raise ValueError("There are point_labels without points; give the points too.")
    if points is None and boxes is None and mask is None:
        raise ValueError("There is no prompt; give points, boxes or a mask.")
    parts: list[tuple[Tensor, Tensor]] = []
    if points is not None:
        parts.append(_points(frame, points, point_labels))
    if boxes is not None:
        parts.append(_corners(frame, boxes))
    elif points is not None:
        parts.append(_filler(len(parts[0][0])))
    masks = None if mask is None else _masks(mask, mask_size)
    counts = {len(one) for one, _ in parts} | (set() if masks is None else {len(masks)})
    if len(counts) != 1:
        raise ValueError(
            f"The points, boxes and masks are of {' and '.join(map(str, sorted(counts)))} prompts; "
            "give as many of each kind, one for every prompt."
        )
    parts = parts or [(torch.zeros(counts.pop(), 0, 2), torch.zeros(1, 0, dtype=torch.int64))]
    coordinates = torch.cat([one for one, _ in parts], dim=1)
    labels = torch.cat([kinds.expand(len(coordinates), -1) for _, kinds in parts], dim=1)
    return Prompts(coordinates, labels, masks)


def _points(frame: Frame, points: Numbers, labels: Numbers | None) -> tuple[Tensor, Tensor]:
    pixels = _numbers("points", points)
    pixels = pixels[None] if pixels.ndim == 2 else pixels
    if pixels.ndim != 3 or pixels.shape[2] != 2 or not pixels.numel():
        raise ValueError(
            f"The points have shape {tuple(pixels.shape)}; give (P, 2), x and y of each, or "
            "(N, P, 2) of several prompts."
        )
    _check_inside(frame, pixels, "point")
    if labels is None:
        kinds = torch.full(pixels.shape[:2], FOREGROUND)
    else:
        kinds = _labels(_numbers("point_labels", labels), pixels)
    return frame.fractions(pixels), kinds


def _labels(labels: Tensor, pixels: Tensor) -> Tensor:
    labels = labels[None] if labels.ndim == 1 else labels
    if labels.shape != pixels.shape[:2]:
        raise ValueError(
            f"The point_labels have shape {tuple(labels.shape)} and the points "
            f"{tuple(pixels.shape)}; give one label for every point."
        )
    if not ((labels == FOREGROUND) | (labels == BACKGROUND)).all():
        raise ValueError(
            f"The point_labels hold {sorted(set(labels.flatten().tolist()))}; a point is 1, inside "
            "of the object, or 0, outside."
        )
    return labels.long()


def _corners(frame: Frame, boxes: Numbers) -> tuple[Tensor, Tensor]:
    pixels = _numbers("boxes", boxes)
    pixels = pixels[None] if pixels.ndim == 1 else pixels
    if pixels.ndim != 2 or pixels.shape[1] != 4 or not len(pixels):
        raise ValueError(
            f"The boxes have shape {tuple(pixels.shape)}; give (N, 4): left, top, right, bottom."
        )
    corners = pixels.reshape(-1, 2, 2)
    _check_inside(frame, corners, "box's corner")
    if not (corners[:, 0] <= corners[:, 1]).all():
        wrong = pixels[(corners[:, 0] > corners[:, 1]).any(dim=1)][0].tolist()
        raise ValueError(
            f"The box {wrong} ends before it begins; give left, top, right and bottom, in pixels."
        )
    return frame.fractions(corners), torch.tensor([[TOP_LEFT, BOTTOM_RIGHT]])


def _filler(prompts: int) -> tuple[Tensor, Tensor]:
    """The point that SAM adds to points without a box."""
    return torch.zeros(prompts, 1, 2), torch.tensor([[NOT_A_POINT]])


def _masks(mask: Numbers, size: tuple[int, int]) -> Tensor:
    logits = _numbers("mask", mask)
    logits = logits[None] if logits.ndim == 2 else logits
    if logits.ndim != 3 or logits.shape[1:] != size or not len(logits):
        raise ValueError(
            f"The mask has shape {tuple(logits.shape)}; give logits ({size[0]}, {size[1]}), such "
            "as the `logits` of an earlier prediction, or one such map for every prompt."
        )
    return logits.float()[:, None]


def _check_inside(frame: Frame, pixels: Tensor, what: str) -> None:
    size = torch.tensor((frame.width, frame.height))
    inside = ((pixels >= -_SLACK) & (pixels <= size + _SLACK)).all(dim=-1)
    if not inside.all():
        x, y = pixels[~inside][0].tolist()
        raise ValueError(
            f"A {what} is at x={x:g}, y={y:g}, outside of the picture of {frame.width}x"
            f"{frame.height} pixels; give pixels of the picture itself, x before y."
        )


def _numbers(name: str, value: Numbers) -> Tensor:
    try:
        array = value.detach().cpu() if isinstance(value, Tensor) else np.asarray(value, float)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"The {name} are not an array of numbers ({error}); give lists of one length."
        ) from error
    numbers = torch.as_tensor(array, dtype=torch.float64)
    if name != "mask" and not numbers.isfinite().all():
        raise ValueError(f"The {name} hold values that are not finite.")
    return numbers
