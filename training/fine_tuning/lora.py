"""Low-rank adapters (LoRA, arXiv 2106.09685), by peft: added to a model and merged into it.

An adapted layer computes W·x + (alpha / rank) · B·A·x with W frozen. B is zero at first, so that
the model starts as it was.
"""

from __future__ import annotations

import copy
from typing import Any, TypeVar

from torch import nn

from zoo.models.image_text_model import ImageTextModel
from zoo.models.trainable import TrainableModel
from zoo.training.fine_tuning.settings import FineTuning

Trained = TypeVar("Trained", bound=TrainableModel)

# The linear layers of attention and MLP, in timm's naming and in that of our text towers.
_ATTENTION = r"(?:attn|token_mixer)\.(?:qkv|proj)"
_MLP = r"(?:conv_)?mlp\.fc[12]"
_LAYERS = rf"(?:stages\.\d+\.)?blocks\.\d+\.(?:{_ATTENTION}|{_MLP})"


def add_adapters(model: ImageTextModel, fine_tuning: FineTuning) -> None:
    """Put an adapter on the linear layers and 1×1 convolutions of the blocks, in place.

    Everything but the adapters is frozen. Their first values come from torch's random state.
    Raises ValueError when peft is not installed.
    """
    put_adapters(
        model,
        rf"(?:{'|'.join(fine_tuning.trained_towers)})\.{_LAYERS}",
        rank=fine_tuning.lora_rank,
        alpha=fine_tuning.lora_alpha,
    )


def put_adapters(
    module: nn.Module, layers: str | list[str], *, rank: int, alpha: float, dropout: float = 0.0
) -> None:
    """Put an adapter on the `layers` of `module`, a pattern or names, and freeze all else in it.

    Raises ValueError when peft is not installed.
    """
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as error:
        raise ValueError('Fine-tuning with train="lora" needs peft; install zoo[lora].') from error
    config = LoraConfig(
        r=rank,
        lora_alpha=alpha,  # pyright: ignore[reportArgumentType]
        lora_dropout=dropout,
        target_modules=layers,
    )
    inject_adapter_in_model(config, module)


def merged_for_saving(model: Trained) -> Trained:
    """Return an ordinary model: W + (alpha / rank) · B·A where `model` has W, A and B.

    A model without adapters is returned itself. Otherwise it is a copy, whose keys and shapes are
    those of `load_model(…, reparameterize=False)`; `model` stays as it is and can be trained on.
    """
    if not _adapted_layers(model):
        return model
    merged = copy.deepcopy(model)
    for name, layer in _adapted_layers(merged):
        layer.merge()
        merged.set_submodule(name, layer.get_base_layer())
    return merged


def _adapted_layers(model: TrainableModel) -> list[tuple[str, Any]]:
    """Names and layers of peft's, known by their matrix A: without adapters peft may be missing."""
    return [(name, module) for name, module in model.named_modules() if hasattr(module, "lora_A")]
