"""Recipes of one time step of continual training."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from zoo.training.recipes.recipe import Recipe
from zoo.training.recipes.small import tiny_teacher


def tiny_continual() -> Recipe:
    """One time step of a tiny world where new colours arrive over time.

    Reproduces: one step of continual training (TiC-CLIP, arXiv 2310.16226), small.
    Command: zoo train tiny-continual --data SHARDS; all steps, every method: zoo bench continual
    Cost: 120 steps of 128 samples a time step; the demo makes about 3 a second on two cores.
    Expect: 18 % top-1 of 64 classes on scenes of the first step's colours (one run).
    """
    return replace(
        tiny_teacher(),
        data="continual/data",
        output=Path("runs/tiny-continual"),
        samples_seen=15_360,
        warmup_samples=2_560,
    )
