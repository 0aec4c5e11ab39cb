"""From a recipe to the parts that the loop trains with."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from zoo.models.image_text_model import ImageTextModel
from zoo.models.load import load_image_text_model
from zoo.models.tokenizer import Tokenizer
from zoo.reinforced_data.loading.data_set import DataSource
from zoo.reinforced_data.loading.loader import Loader
from zoo.training.fine_tuning.prepare import prepare_fine_tuning
from zoo.training.parallel.world import World
from zoo.training.recipes.choices import REINFORCED_TASKS
from zoo.training.recipes.recipe import Recipe
from zoo.training.tasks.coca_model import build_coca


def build_model(recipe: Recipe, device: str | torch.device | None = None) -> ImageTextModel:
    """Return the recipe's model in train-time form: from `init`, or random from the seed, and with
    what its `fine_tuning` does not train frozen.

    Raises what `load_model` (`build_coca`) raises for an unknown name or weights that do not
    fit.
    """
    torch.manual_seed(recipe.seed)
    if recipe.task == "captioning":
        return build_coca(recipe.model, init=recipe.init, device=device)
    model = load_image_text_model(
        recipe.model, weights=recipe.init, reparameterize=False, device=device
    )
    if recipe.channels_last:
        model.image_encoder.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    if recipe.fine_tuning is not None:
        prepare_fine_tuning(model, recipe.fine_tuning)
    return model


def build_loader(
    recipe: Recipe,
    model: ImageTextModel,
    world: World | None = None,
    *,
    sources: Sequence[DataSource] = (),
) -> Loader:
    """Return a process's share of batches of the recipe's shards, at the model's size (of a
    SAM-CLIP at the recipe's) and in its tokens; without a `world` there is one process. `sources`
    take the place of the recipe's data.

    Raises what `Loader` raises for shards or sidecars that are missing or damaged, and ValueError
    where the processes and parts do not divide the batch.
    """
    world = world or World(device=torch.device("cpu"))
    check_shares(recipe, world)
    card, preprocessing = model.card, model.preprocessing
    reinforced = recipe.task in REINFORCED_TASKS
    source = DataSource(
        shards=recipe.data,
        subset=recipe.subset,
        sidecars=recipe.sidecars,
        published_set=recipe.published_set,
    )
    return Loader(
        sources or source,
        tokenize=Tokenizer(context_length=card.context_length, vocab_size=card.vocab_size),
        image_size=recipe.sam_clip.image_sizes if recipe.sam_clip else preprocessing.image_size,
        batch_size=recipe.batch_size // world.size,
        rank=world.rank,
        world_size=world.size,
        reinforced=reinforced,
        policy=None if reinforced else recipe.augmentation,
        synthetic_ratio=recipe.synthetic_ratio,
        texts=recipe.sam_clip is None,
        pixels=recipe.pixels,
        seed=recipe.seed,
        num_workers=recipe.workers,
        pin_memory=world.device.type == "cuda",
        cache_folder=recipe.cache_folder,
    )


def check_shares(recipe: Recipe, world: World) -> None:
    """Raise ValueError unless every process and every part gets as many samples of a batch."""
    shares = world.size * recipe.accumulation
    if recipe.batch_size % shares:
        raise ValueError(
            f"A batch of {recipe.batch_size} cannot be shared by {world.size} processes with "
            f"{recipe.accumulation} parts each; make batch_size a multiple of {shares}."
        )
