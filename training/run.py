"""From a recipe to the parts that the loop trains with."""

from __future__ import annotations

import torch
from torch import nn

from zoo.models.image_text_model import ImageTextModel
from zoo.models.load import load_model
from zoo.models.tokenizer import Tokenizer
from zoo.reinforced_data.loading.data_set import DataSource
from zoo.reinforced_data.loading.loader import Loader
from zoo.training.recipes.recipe import Recipe


def build_model(recipe: Recipe, device: str | torch.device | None = None) -> ImageTextModel:
    """Return the recipe's model in train-time form: from `init`, or random from the seed.

    Raises what `load_model` raises for an unknown name or weights that do not fit, and
    ValueError for channels_last where it is not safe.
    """
    torch.manual_seed(recipe.seed)
    model = load_model(recipe.model, weights=recipe.init, reparameterize=False, device=device)
    if recipe.channels_last:
        _check_channels_last(model)
        model.image_encoder.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    return model


def _check_channels_last(model: ImageTextModel) -> None:
    """In torch 2.15 the CPU backward of such a convolution writes past its memory."""
    for name, module in model.image_encoder.named_modules():
        if (
            isinstance(module, nn.Conv2d)
            and module.weight.device.type == "cpu"
            and (module.kernel_size, module.stride) == ((1, 1), (2, 2))
            and module.groups == 1
        ):
            raise ValueError(
                f"channels_last cannot be used for {model.card.name} on the CPU: torch corrupts "
                f"memory in the backward pass of '{name}'; set channels_last to False."
            )


def build_loader(recipe: Recipe, model: ImageTextModel) -> Loader:
    """Return the batches of the recipe's shards, at the model's size and in its tokens.

    Raises what `Loader` raises for shards or sidecars that are missing or damaged.
    """
    card = model.card
    reinforced = recipe.task == "reinforced"
    source = DataSource(
        shards=recipe.data,
        subset=recipe.subset,
        sidecars=recipe.sidecars,
        published_set=recipe.published_set,
    )
    return Loader(
        source,
        tokenize=Tokenizer(context_length=card.context_length, vocab_size=card.vocab_size),
        image_size=model.preprocessing.image_size,
        batch_size=recipe.batch_size,
        reinforced=reinforced,
        policy=None if reinforced else recipe.augmentation,
        synthetic_ratio=recipe.synthetic_ratio,
        pixels=recipe.pixels,
        seed=recipe.seed,
        num_workers=recipe.workers,
        cache_folder=recipe.cache_folder,
    )
