"""What visual instruction tuning changes of a model, and what it reads."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from zoo.models.card import MultiScale
from zoo.models.preprocess import Aspect

VisionLanguagePart = Literal["projector", "language", "all", "lora"]
TowerForm = Literal["reparameterized", "train-time"]


@dataclass(frozen=True, kw_only=True)
class VisionLanguage:
    """Which parts of a vision-language model are trained, how fast, and on what.

    Raises ValueError for values that cannot be.
    """

    images: Path | None = None
    """Folder of the pictures that a LLaVA file names; None where the data are shards, or a mix that
    says it itself."""
    train: VisionLanguagePart = "all"
    """The "projector" alone, with the "language" model, "all" parameters, or "lora": low-rank
    adapters on the language model's linear layers and the projector; everything else is frozen."""
    projector_learning_rate: float | None = None
    """Peak of the projector's schedule; None is the recipe's."""
    tower_learning_rate: float | None = None
    """Peak of the image tower's schedule; None is the recipe's."""
    tower: TowerForm = "reparameterized"
    """Form in which the image tower is trained: with its branches merged, as the published ones
    were, or "train-time", which weights hold only before they are merged."""
    train_batch_norm: bool = False
    """Let the tower's BatchNorm normalise by the batch and move its statistics; otherwise it stays
    in evaluation mode."""
    max_length: int = 8192
    """Tokens of a conversation, visual ones included; a longer one is cut after an answer or left
    out, and reported."""
    group_by_length: bool = True
    """Make batches of conversations of like length, those without a picture apart."""
    random_image_position: bool = False
    """Put the picture before or after the first question, each with probability 0.5."""
    image_size: int | None = None
    """Side in pixels of a view, a multiple of the tower's stride; None is that of the weights."""
    aspect: Aspect | None = None
    """How a picture becomes a square, "pad" or "crop"; None is that of the weights."""
    grids: tuple[tuple[int, int], ...] | None = None
    """AnyRes: columns and rows of tiles to choose from, e.g. 2 2; None is that of the weights."""
    language_model: str | None = None
    """Folder or name on the hub of a causal language model to begin with, its tokenizer with
    ChatML's tokens; None is that of the weights."""
    image_encoder: Path | None = None
    """Weights of FastViTHD to begin with, any file that load_model("fastvithd") reads; None is the
    tower of the weights."""
    multi_scale: MultiScale | None = None
    """For a new projector: let it read features of every stage of the tower, the earlier ones
    pooled by their "average" or by "depthwise" convolutions; None is that of the weights."""
    lora_rank: int = 64
    """With train="lora": rank of an adapter, r of arXiv 2106.09685."""
    lora_alpha: float = 16.0
    """With train="lora": an adapter's product is scaled by lora_alpha / lora_rank."""
    lora_dropout: float = 0.05
    """With train="lora": share of an adapter's inputs that are dropped out in training."""

    def __post_init__(self) -> None:
        for name, choices in (("train", VisionLanguagePart), ("tower", TowerForm)):
            value = getattr(self, name)
            _check(name, value, value in get_args(choices), f"one of {_listed(choices)}")
        aspects = self.aspect in (None, *get_args(Aspect))
        _check("aspect", self.aspect, aspects, f"one of {_listed(Aspect)}, or None")
        scales = self.multi_scale in (None, *get_args(MultiScale))
        _check("multi_scale", self.multi_scale, scales, f"one of {_listed(MultiScale)}, or None")
        for name in ("projector_learning_rate", "tower_learning_rate"):
            rate = getattr(self, name)
            _check(name, rate, rate is None or 0 < rate < math.inf, "above 0, or None")
        for name in ("max_length", "lora_rank"):
            _check(name, getattr(self, name), getattr(self, name) >= 1, "at least 1")
        _check("lora_alpha", self.lora_alpha, self.lora_alpha > 0, "above 0")
        _check("lora_dropout", self.lora_dropout, 0 <= self.lora_dropout < 1, "in [0, 1)")
        if self.train != "all":
            rate = self.tower_learning_rate
            _check("tower_learning_rate", rate, rate is None, f"None with train={self.train}")
            moves = self.train_batch_norm
            _check("train_batch_norm", moves, not moves, f"False with train={self.train}")


def _listed(choices: object) -> str:
    return ", ".join(get_args(choices))


def _check(name: str, value: object, holds: bool, allowed: str) -> None:
    if not holds:
        raise ValueError(f"Vision-language field {name} is {value}, but it must be {allowed}.")
