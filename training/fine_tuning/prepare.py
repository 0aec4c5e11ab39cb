"""Before the first step: freeze what is not trained, and say how fast the rest moves."""

from __future__ import annotations

from collections.abc import Iterable
from types import MethodType

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from zoo.models.image_text_model import ImageTextModel
from zoo.training.fine_tuning.layers import distances_from_top, tower_of
from zoo.training.fine_tuning.lora import add_adapters
from zoo.training.fine_tuning.settings import FineTuning


def prepare_fine_tuning(model: ImageTextModel, fine_tuning: FineTuning) -> None:
    """Freeze what `fine_tuning` does not train, in place, and add the adapters of LoRA.

    The model computes what it did before. BatchNorm without a trained parameter keeps its
    statistics: it stays in eval mode whatever `train()` is called with. Raises ValueError where
    LoRA is asked for and peft is not installed.
    """
    if fine_tuning.train == "lora":
        add_adapters(model, fine_tuning)
    else:
        _freeze(model, fine_tuning)
    keep_statistics([module for module in model.modules() if not _is_trained(module)])


def keep_statistics(modules: Iterable[nn.Module]) -> None:
    """Let every BatchNorm among `modules` stay in eval mode, whatever `train()` is called with."""
    for module in modules:
        if isinstance(module, _BatchNorm):
            _keep_in_eval_mode(module)


def learning_rate_scales(model: ImageTextModel, fine_tuning: FineTuning) -> dict[str, float]:
    """Return the factor of the learning rate of every parameter, by name.

    `layer_decay` to the power of the number of blocks above: 1 at the top of a tower. Raises
    ValueError for a parameter that has no place in the table of layers.
    """
    distances = distances_from_top(name for name, _ in model.named_parameters())
    return {name: fine_tuning.layer_decay**distance for name, distance in distances.items()}


def _freeze(model: ImageTextModel, fine_tuning: FineTuning) -> None:
    parameters = dict(model.named_parameters())
    for name, distance in distances_from_top(parameters).items():
        near = fine_tuning.train == "all" or distance <= fine_tuning.last_blocks
        chosen = tower_of(name) in (None, *fine_tuning.trained_towers)
        parameters[name].requires_grad_(near and chosen)


def _is_trained(module: nn.Module) -> bool:
    return any(parameter.requires_grad for parameter in module.parameters())


def _keep_in_eval_mode(module: nn.Module) -> None:
    module.eval()
    # A bound method, so that a copy of the model holds on to its own module.
    module.train = MethodType(_ignore_mode, module)  # pyright: ignore[reportAttributeAccessIssue]


def _ignore_mode(module: nn.Module, mode: bool = True) -> nn.Module:
    return module
