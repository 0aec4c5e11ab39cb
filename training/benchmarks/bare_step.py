"""The loop's step without the loop: no logs, no checkpoints, no evaluation."""

from __future__ import annotations

from torch import Tensor

from zoo.models.image_text_model import ImageTextModel
from zoo.training.checkpoints.train_state import BatchLoader, TrainState
from zoo.training.optimization.optimizer import build_optimizer
from zoo.training.parallel.towers import Towers
from zoo.training.parallel.world import World
from zoo.training.precision import gradient_scaler
from zoo.training.recipes.recipe import Recipe
from zoo.training.step import update
from zoo.training.tasks.build import build_task


class BareStep:
    """Call it on a batch for one more optimizer step; returns the loss that led to it."""

    def __init__(self, model: ImageTextModel, recipe: Recipe, loader: BatchLoader) -> None:
        """Train `model` in place, on its device; the recipe's precision is not "auto"."""
        world = World(device=model.logit_scale.device)
        task = build_task(recipe, model, loader.teachers)
        task.train()
        self._towers = Towers(task, recipe, world)
        self._state = TrainState(
            recipe=recipe,
            task=task,
            optimizer=build_optimizer(task, recipe),
            loader=loader,
            world=world,
            scaler=gradient_scaler(recipe.precision, world.device),
        )

    def __call__(self, batch: dict[str, Tensor]) -> float:
        return sum(update(self._state, self._towers, batch).losses.values())
