"""What fine-tuning changes of a model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

TrainedPart = Literal["all", "last", "lora"]
TrainedTowers = Literal["both", "image", "text"]
TOWERS = ("image_encoder", "text_encoder")


@dataclass(frozen=True, kw_only=True)
class FineTuning:
    """Which parameters are trained, and how fast. Raises ValueError for values that cannot be."""

    train: TrainedPart = "all"
    """"all" parameters, the "last" blocks of a tower and what follows them, or "lora": low-rank
    adapters of the blocks' linear layers and 1×1 convolutions, everything else frozen."""
    towers: TrainedTowers = "both"
    """Which towers are trained; the other one is frozen (LiT, arXiv 2111.07991)."""
    last_blocks: int = 1
    """With train="last": how many blocks of a tower, counted from its top."""
    layer_decay: float = 1.0
    """Factor of the learning rate from one block to the block below it (BEiT, arXiv 2106.08254);
    1 trains all alike."""
    lora_rank: int = 8
    """With train="lora": rank of an adapter, r of arXiv 2106.09685."""
    lora_alpha: float = 16.0
    """With train="lora": an adapter's product is scaled by lora_alpha / lora_rank."""

    def __post_init__(self) -> None:
        _check("train", self.train, self.train in get_args(TrainedPart), get_args(TrainedPart))
        _check(
            "towers", self.towers, self.towers in get_args(TrainedTowers), get_args(TrainedTowers)
        )
        _check("last_blocks", self.last_blocks, self.last_blocks >= 0, ("0 or more",))
        _check("layer_decay", self.layer_decay, 0 < self.layer_decay <= 1, ("in (0, 1]",))
        _check("lora_rank", self.lora_rank, self.lora_rank >= 1, ("at least 1",))
        _check("lora_alpha", self.lora_alpha, self.lora_alpha > 0, ("above 0",))

    @property
    def trained_towers(self) -> tuple[str, ...]:
        """Names of the towers, as attributes of the model, that are trained."""
        return TOWERS if self.towers == "both" else (f"{self.towers}_encoder",)


def _check(name: str, value: object, holds: bool, allowed: tuple[str, ...]) -> None:
    if not holds:
        raise ValueError(
            f"Fine-tuning field {name} is {value}, but it must be {' or '.join(allowed)}."
        )
