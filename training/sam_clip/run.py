"""From a recipe of SAM-CLIP to the parts that the loop trains with."""

from __future__ import annotations

from dataclasses import replace

import torch

from zoo.models.card import SamClipCard
from zoo.models.registry import get_card_of
from zoo.models.sam_clip.load import load_sam_clip
from zoo.models.sam_clip.sam_clip_model import SamClipModel
from zoo.models.sam_clip.start import starting_model
from zoo.reinforced_data.masks.loader import MaskLoader
from zoo.training.checkpoints.train_state import BatchLoader
from zoo.training.parallel.world import World
from zoo.training.recipes.recipe import Recipe
from zoo.training.run import build_loader, check_shares
from zoo.training.sam_clip.prepare import prepare_sam_clip
from zoo.training.sam_clip.settings import SamClip
from zoo.training.sam_clip.two_streams import TwoStreams


def build_sam_clip_of(recipe: Recipe, device: str | torch.device | None = None) -> SamClipModel:
    """Return the recipe's model: from `init`, or from a SAM and a text tower, what these leave out
    random from the seed; what is not trained is frozen.

    Raises what `load_model` and `starting_model` raise for an unknown name or weights that do not
    fit, and ValueError for sizes that the model's stride does not divide.
    """
    settings = _settings(recipe)
    torch.manual_seed(recipe.seed)
    card = get_card_of(SamClipCard, recipe.model)
    _check_sizes(card, settings)
    if recipe.init is not None:
        model = load_sam_clip(recipe.model, weights=recipe.init, reparameterize=False)
    else:
        model = starting_model(recipe.model, sam=settings.sam, text=settings.text)
    prepare_sam_clip(model, settings)
    return model.to(device)


def build_streams(recipe: Recipe, model: SamClipModel, world: World | None = None) -> BatchLoader:
    """Return a process's share of the batches: pictures with embeddings, with masks, or both;
    without a `world` there is one process.

    Raises what `Loader` and `MaskLoader` raise for shards and sidecars that are missing or damaged,
    and ValueError where the processes and parts do not divide a batch.
    """
    world = world or World(device=torch.device("cpu"))
    settings = _settings(recipe)
    if not settings.reads_embeddings:
        return _mask_loader(recipe, settings, model, world)
    pictures = build_loader(recipe, model, world)
    if not settings.reads_masks:
        return pictures
    masks = replace(
        recipe, data=settings.mask_data or recipe.data, batch_size=settings.mask_batch_size
    )
    return TwoStreams(pictures, _mask_loader(masks, settings, model, world))


def _mask_loader(
    recipe: Recipe, settings: SamClip, model: SamClipModel, world: World
) -> MaskLoader:
    """The pictures of `recipe.data`, `recipe.batch_size` of them a step."""
    check_shares(recipe, world)
    return MaskLoader(
        recipe.data,
        batch_size=recipe.batch_size // world.size,
        masks_per_image=settings.masks_per_image,
        image_size=model.card.mask_image_size,
        sidecars=settings.mask_sidecars,
        seed=recipe.seed,
        rank=world.rank,
        world_size=world.size,
        num_workers=recipe.workers,
        pin_memory=world.device.type == "cuda",
    )


def _check_sizes(card: SamClipCard, settings: SamClip) -> None:
    for size in settings.image_sizes:
        if settings.reads_embeddings and size % card.stride:
            raise ValueError(
                f"SAM-CLIP field image_sizes holds {size}, but {card.name} takes pictures whose "
                f"sides are multiples of {card.stride}."
            )


def _settings(recipe: Recipe) -> SamClip:
    assert recipe.sam_clip is not None  # as a recipe of this task has
    return recipe.sam_clip
