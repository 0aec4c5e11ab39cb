"""The stages of fastvlm-tiny follow each other, and the tower is merged when it has been trained.

Run: .venv/bin/pytest tests/training/recipes/test_fastvlm_tiny_recipes.py
"""

from __future__ import annotations

from itertools import pairwise

from zoo.training.recipes.recipe import Recipe
from zoo.training.recipes.registry import get_recipe
from zoo.training.vision_language.settings import VisionLanguage

STAGES = [get_recipe(f"fastvlm-tiny-stage{stage}") for stage in ("1", "1.5", "2", "3")]


def settings(recipe: Recipe) -> VisionLanguage:
    assert recipe.vision_language is not None
    return recipe.vision_language


def test_every_stage_begins_with_the_weights_of_the_stage_before() -> None:
    assert STAGES[0].init is None
    for before, after in pairwise(STAGES):
        assert after.init == before.output / "weights.safetensors"


def test_projector_then_everything_then_the_language_model_is_trained() -> None:
    trained = [settings(recipe).train for recipe in STAGES]
    assert trained == ["projector", "all", "language", "language"]


def test_the_tower_keeps_its_branches_until_it_is_trained() -> None:
    towers = [settings(recipe).tower for recipe in STAGES]
    assert towers == ["train-time", "train-time", "reparameterized", "reparameterized"]
