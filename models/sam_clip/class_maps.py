"""Which class a pixel has: maps of class logits, the background among them, and their margins.

Shape suffixes: C classes, R rows: the classes and, where asked for, the background, h and w pixels.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

BACKGROUND_CLASS = -1
"""Class index of a pixel that belongs to none of the labels."""
MARGIN_LIMIT = 10.0
"""Of the logits in a mask prompt: 1 in 22,000 is as sure as one needs be."""


def with_background(logits: Tensor, threshold: float | None) -> Tensor:
    """Return class logits (C, h, w) and, unless the threshold is None, the background's below them.

    The background wins exactly where no class has a softmax probability (over the classes alone)
    of at least `threshold`: a class with logit l has less where l < logsumexp + log(threshold).
    """
    if threshold is None:
        return logits
    return torch.cat([logits, logits.logsumexp(dim=0, keepdim=True) + math.log(threshold)])


def classes_of(rows: Tensor, classes: int) -> Tensor:
    """Return the class int64 (h, w) with the greatest of logits (R, h, w); -1 is the background."""
    best = rows.argmax(dim=0)
    return best.masked_fill(best == classes, BACKGROUND_CLASS)


def margins(rows: Tensor) -> Tensor:
    """Return how far each of the logits (R, h, w) lies above the greatest other, in ±MARGIN_LIMIT.

    A mask prompt is a logit whose sign tells inside from outside. A margin's sign is the class map
    itself, and of two rows it is the log-odds of their softmax. (The log-odds of one class against
    all others would be negative in its own region wherever it has less than half of the
    probability, as it has among many labels.)
    """
    if len(rows) == 1:
        return torch.full_like(rows, MARGIN_LIMIT)
    best, second = rows.topk(2, dim=0).values
    is_best = rows.argmax(dim=0) == torch.arange(len(rows), device=rows.device)[:, None, None]
    return (rows - torch.where(is_best, second, best)).clamp(-MARGIN_LIMIT, MARGIN_LIMIT)
