"""Recipes by name."""

from __future__ import annotations

import difflib
from collections.abc import Callable

from zoo.training.recipes.recipe import Recipe
from zoo.training.recipes.small import flickr1k, tiny_plain, tiny_reinforced, tiny_teacher

RECIPES: dict[str, Callable[[], Recipe]] = {
    "tiny-teacher": tiny_teacher,
    "tiny-plain": tiny_plain,
    "tiny-reinforced": tiny_reinforced,
    "flickr1k": flickr1k,
}


def get_recipe(name: str) -> Recipe:
    """Return the recipe called `name`. Raises ValueError with the closest names otherwise."""
    if name in RECIPES:
        return RECIPES[name]()
    close = difflib.get_close_matches(name.lower().replace("_", "-"), RECIPES, n=2, cutoff=0.5)
    hint = f"did you mean {' or '.join(close)}?" if close else f"there are {', '.join(RECIPES)}."
    raise ValueError(f"Unknown recipe '{name}'; {hint}")
