"""The model in one piece, also where FSDP2 has divided it."""

from __future__ import annotations

import copy

from torch.distributed.tensor import DTensor

from zoo.models.trainable import TrainableModel
from zoo.training.parallel.world import World
from zoo.training.recipes.recipe import Recipe


class WholeModel:
    """Gives the main process the model to evaluate and to write.

    It is the trained model itself, or with FSDP2 a copy, since a divided model runs only in all
    processes at once.
    """

    def __init__(self, model: TrainableModel, recipe: Recipe, world: World) -> None:
        """Take the model before it is divided."""
        divides = recipe.parallel == "fsdp" and world.size > 1
        self._model = copy.deepcopy(model) if divides and world.is_main else model
        self._trained = model

    def gather(self) -> TrainableModel:
        """Return the model with the present weights; useful in the main process, called in all."""
        own = self._model.state_dict()
        for name, tensor in self._trained.state_dict().items():
            whole = tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
            if self._model is not self._trained:
                own[name].copy_(whole)
        return self._model
