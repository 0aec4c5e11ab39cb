"""The published recipes have the papers' budgets, and differ from each other where the papers do.

Run: pytest tests/training/recipes/test_published.py
"""

from __future__ import annotations

import pytest

from zoo.reinforced_data.datacompdr.published_sets import PUBLISHED_SETS
from zoo.training.recipes.registry import get_recipe

PUBLISHED = ("datacompdr-12m", "datacompdr-1b", "dfndr-2b")


@pytest.mark.parametrize(
    ("name", "steps", "warmup_steps", "batch_size"),
    [
        ("datacompdr-12m", 30_000, 1_000, 8_192),
        ("datacompdr-1b", 200_000, 2_000, 65_536),
        ("dfndr-2b", 200_000, 10_000, 65_536),
    ],
)
def test_a_published_recipe_has_its_papers_budget(
    name: str, steps: int, warmup_steps: int, batch_size: int
) -> None:
    recipe = get_recipe(name)
    assert (recipe.steps, recipe.warmup_steps, recipe.batch_size) == (
        steps,
        warmup_steps,
        batch_size,
    )


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_recipe_learns_from_the_teachers_of_its_set(name: str) -> None:
    recipe = get_recipe(name)
    assert recipe.task == "reinforced"
    assert recipe.published_set in PUBLISHED_SETS
    assert (recipe.learning_rate, recipe.weight_decay, recipe.betas) == (1e-3, 0.2, (0.9, 0.95))
    assert (recipe.distillation_weight, recipe.synthetic_ratio) == (1.0, None)


def test_only_the_first_release_ends_above_zero_and_averages_its_weights() -> None:
    recipes = [get_recipe(name) for name in PUBLISHED]
    assert [recipe.min_learning_rate for recipe in recipes] == [0.0, 1e-6, 0.0]
    assert [recipe.ema_decay for recipe in recipes] == [None, 0.9995, None]
