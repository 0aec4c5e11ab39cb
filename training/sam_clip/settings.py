"""What the stages of SAM-CLIP train, and on what."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

SamClipPart = Literal["head", "all", "masks"]


@dataclass(frozen=True, kw_only=True)
class SamClip:
    """Which parts of a SAM-CLIP are trained, how fast, and on what.

    Raises ValueError for values that cannot be.
    """

    train: SamClipPart = "all"
    """The CLIP "head" alone, on stored embeddings; "all": head, tower and mask decoder, on
    embeddings and masks; "masks": tower, prompt encoder and mask decoder, on masks alone, which is
    how a SAM is trained. Text tower and logit scale never move."""
    sam: Path | None = None
    """Weights of a SAM to begin with: the original file, transformers', timm's or ours; None is a
    random one, or that of `init`."""
    text: str | None = None
    """Text tower to begin with, as a teacher is named: zoo:MODEL@WEIGHTS or open_clip:MODEL@TAG;
    None is none at all, which is enough to train masks, or that of `init`."""
    image_sizes: tuple[int, ...] = (224, 448)
    """Sides in pixels of the pictures with stored embeddings; each batch has one of them, drawn."""
    mask_data: str | None = None
    """With train="all": shards whose mask sidecars hold prompts and a SAM's answers; None takes
    those of the recipe's data."""
    mask_sidecars: Path | None = None
    """Folder of the mask sidecars; None looks beside the shards."""
    mask_batch_size: int = 32
    """With train="all": pictures with masks of each step, over all processes and parts."""
    masks_per_image: int = 32
    """Prompts drawn of each of these pictures."""
    mask_weight: float = 10.0
    """With train="all": λ, what the mask losses count beside the embeddings'."""
    learning_rate_scale: float = 0.1
    """With train="all": what the learning rate of tower and mask decoder is multiplied by."""

    def __post_init__(self) -> None:
        parts = get_args(SamClipPart)
        _check("train", self.train, self.train in parts, f"one of {', '.join(parts)}")
        sizes = bool(self.image_sizes) and min(self.image_sizes) >= 1
        _check("image_sizes", self.image_sizes, sizes, "one side in pixels or more")
        for name in ("mask_batch_size", "masks_per_image"):
            _check(name, getattr(self, name), getattr(self, name) >= 1, "at least 1")
        for name in ("mask_weight", "learning_rate_scale"):
            value = getattr(self, name)
            _check(name, value, 0 < value < math.inf, "above 0")
        for name, is_read in (
            ("mask_data", self.train == "all"),
            ("mask_sidecars", self.reads_masks),
        ):
            value = getattr(self, name)
            _check(name, value, value is None or is_read, f"None with train={self.train}")

    @property
    def reads_embeddings(self) -> bool:
        """Whether a step has pictures with a CLIP teacher's embeddings."""
        return self.train != "masks"

    @property
    def reads_masks(self) -> bool:
        """Whether a step has pictures with prompts and masks."""
        return self.train != "head"


def _check(name: str, value: object, holds: bool, allowed: str) -> None:
    if not holds:
        raise ValueError(f"SAM-CLIP field {name} is {value}, but it must be {allowed}.")
