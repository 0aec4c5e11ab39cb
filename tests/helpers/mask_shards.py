"""Scenes with instance masks in shards, and a small random SAM.

Used by .venv/bin/pytest tests/reinforced_data/masks
"""

from pathlib import Path

import torch

from zoo.models.card import SamClipCard
from zoo.models.load import load_model
from zoo.models.registry import get_card_of
from zoo.reinforced_data.masks.teacher import SamTeacher, TruthTeacher
from zoo.reinforced_data.shards.write import write_shards
from zoo.reinforced_data.tiny_world import scene_samples

SCENES = 7
PROMPTS = 5


def scene_shards(folder: Path, scenes: int = SCENES) -> list[Path]:
    """Write scenes of 64 pixels in shards of four."""
    return write_shards(scene_samples(scenes, seed=0), folder, samples_per_shard=4)


def random_sam() -> SamTeacher:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = load_model("sam-clip-tiny", weights=None)
    return SamTeacher(model, pretrained="random 0")


def truth() -> TruthTeacher:
    return TruthTeacher(get_card_of(SamClipCard, "sam-clip-tiny"))
