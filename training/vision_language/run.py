"""From a recipe of visual instruction tuning to the parts that the loop trains with."""

from __future__ import annotations

import torch

from zoo.models.fastvlm.vision_language_model import VisionLanguageModel
from zoo.reinforced_data.conversations.loader import ConversationLoader
from zoo.reinforced_data.conversations.sources import conversation_sources
from zoo.training.parallel.world import World
from zoo.training.recipes.recipe import Recipe
from zoo.training.run import check_shares
from zoo.training.vision_language.prepare import prepare_vision_language
from zoo.training.vision_language.settings import VisionLanguage
from zoo.training.vision_language.start import starting_model


def build_vision_language_model_of(
    recipe: Recipe, device: str | torch.device | None = None
) -> VisionLanguageModel:
    """Return the recipe's model, its tower in the form to be trained and what is not trained
    frozen.

    Raises what `starting_model` and `prepare_vision_language` raise.
    """
    settings = _settings(recipe)
    model = starting_model(recipe, settings)
    prepare_vision_language(model, settings)
    if recipe.channels_last:
        model.image_encoder.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    return model.to(device)


def build_conversation_loader(
    recipe: Recipe, model: VisionLanguageModel, world: World | None = None
) -> ConversationLoader:
    """Return a process's share of batches of the recipe's conversations, in the model's tokens and
    views; without a `world` there is one process.

    Raises what `conversation_sources` raises for data that are missing or damaged, and ValueError
    where the processes and parts do not divide the batch or the model has no tokenizer.
    """
    world = world or World(device=torch.device("cpu"))
    check_shares(recipe, world)
    settings = _settings(recipe)
    return ConversationLoader(
        conversation_sources(recipe.data, settings.images),
        tokenizer=model.tokenizer,
        views=model.views,
        tokens_per_view=model.tokens_per_view,
        batch_size=recipe.batch_size // world.size,
        max_length=settings.max_length,
        group_by_length=settings.group_by_length,
        random_image_position=settings.random_image_position,
        seed=recipe.seed,
        rank=world.rank,
        world_size=world.size,
        num_workers=recipe.workers,
        pin_memory=world.device.type == "cuda",
    )


def _settings(recipe: Recipe) -> VisionLanguage:
    assert recipe.vision_language is not None  # as a recipe of this task has
    return recipe.vision_language
