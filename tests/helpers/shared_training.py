"""What the processes of a distributed test run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from torch import Tensor
from toy_batches import ToyLoader, toy_recipe

from zoo.training.loop import train
from zoo.training.parallel.world import World, training_world
from zoo.training.recipes.recipe import Recipe
from zoo.training.run import build_model


class SharedToyLoader(ToyLoader):
    """This process's rows of the toy batches."""

    def __init__(self, recipe: Recipe, world: World) -> None:
        super().__init__(recipe)
        self.world = world

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        rank = self.world.rank
        for batch in super().__iter__():
            yield {key: value.chunk(self.world.size)[rank] for key, value in batch.items()}


def train_in_turn(
    output: Path, variants: dict[str, dict[str, Any]]
) -> dict[str, list[dict[str, float]]]:
    """Train the toy recipe with the changes of every variant, in the world that is there.

    Returns the metrics of every step by variant: only rank 0 has any.
    """
    lines: dict[str, list[dict[str, float]]] = {}
    with training_world("cpu") as world:
        for name, changes in variants.items():
            recipe = toy_recipe(output / name, **changes)
            seen = lines.setdefault(name, [])
            train(
                recipe,
                model=build_model(recipe, world.device),
                loader=SharedToyLoader(recipe, world),
                world=world,
                on_evaluate=lambda model, _: {"in_training_mode": float(model.training)},
                on_progress=lambda progress, seen=seen: seen.append(progress.to_record()),
            )
    return lines
