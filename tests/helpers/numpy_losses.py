"""Losses of the papers in NumPy, written down a second time.

Used by .venv/bin/pytest tests/training/tasks
"""

from __future__ import annotations

from typing import Any

import numpy as np


def clip_row_losses(image: Any, text: Any, scale: float) -> np.ndarray:
    """Return (B,): the mean of both directions' -log softmax at the matching place."""
    logits = scale * np.asarray(image, np.float64) @ np.asarray(text, np.float64).T
    directions = [np.log(np.exp(x).sum(axis=1)) - np.diag(x) for x in (logits, logits.T)]
    return np.mean(directions, axis=0)


def clip_loss(image: Any, text: Any, scale: float) -> float:
    """Return CLIP's loss of features (B, D)."""
    return float(clip_row_losses(image, text, scale).mean())
