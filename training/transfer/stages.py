"""The stages of a transfer. Each writes files, and is not run again where they are there."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch

from zoo.models.card import ImageTextCard
from zoo.reinforced_data.curation.pool import OnProgress, Pool, find_sidecars, no_progress
from zoo.reinforced_data.curation.queries import check_same_teacher
from zoo.reinforced_data.curation.retrieve import retrieve
from zoo.reinforced_data.curation.subset import write_subset
from zoo.reinforced_data.engine.teachers import load_teacher
from zoo.reinforced_data.shards.find import find_shards
from zoo.training.loop import train
from zoo.training.metrics.progress import Progress
from zoo.training.parallel.world import World
from zoo.training.recipes.recipe import Recipe
from zoo.training.run import build_loader, build_model
from zoo.training.transfer.fit_head import check_labels, fit_head
from zoo.training.transfer.head import TRAINED_HEAD, LinearHead, load_head, save_head
from zoo.training.transfer.labelled import (
    choose_labels,
    encode_labelled,
    load_labelled,
    save_labelled,
)


class Trained(NamedTuple):
    """What a training stage leaves behind."""

    weights: Path
    """Of the whole model, train-time form, as `load_model` takes them."""
    head: Path | None
    """Of its head on the tower's features; None after feature distillation."""


def choose_few(labelled: str, per_class: int, output: Path, *, seed: int) -> None:
    """Write the subset `output` of `per_class` labelled pictures of each class."""
    if not output.exists():
        choose_labels(find_shards(labelled), per_class, output, seed=seed)


def encode(
    labelled: str,
    encoder: str,
    output: Path,
    *,
    subset: Path | None = None,
    device: torch.device,
    on_progress: OnProgress = no_progress,
) -> None:
    """Write what the frozen model `encoder` (see `load_teacher`) sees in the labelled pictures."""
    if not output.exists():
        teacher = load_teacher(encoder, device=device)
        found = encode_labelled(
            find_shards(labelled), teacher, subset=subset, on_progress=on_progress
        )
        check_labels(found.labels)
        save_labelled(found, output)


def fit(features: Path, output: Path) -> None:
    """Write the head that is fitted on a file of `encode`; see `fit_head`."""
    if not output.exists():
        save_head(fit_head(load_labelled(features)), output)


def retrieve_transfer_set(
    pool: str,
    head: Path,
    features: Path,
    output: Path,
    *,
    quota: int,
    on_progress: OnProgress = no_progress,
) -> None:
    """Write the subset of a pool that is nearest to the labelled pictures, `quota` for each.

    `features` are the pictures' own, of the teacher that `head` was fitted on; the pool's sidecars
    hold the same teacher's. Raises ValueError where there is no sidecar, or of another teacher.
    """
    if output.exists():
        return
    fitted, candidates = load_head(head), Pool.open(find_sidecars(pool))
    check_same_teacher(candidates.teacher(fitted.of), fitted.of, fitted.pretrained)
    queries = load_labelled(features).features.numpy()
    found = retrieve(candidates, fitted.of, queries, quota=quota, on_progress=on_progress)
    settings = {"teacher": fitted.of, "quota": quota, "queries": len(queries)}
    metadata = {"made_by": "transfer", "settings": json.dumps(settings, sort_keys=True)}
    write_subset(output, candidates.keep(found.kept), metadata)


def run_training(
    recipe: Recipe, *, world: World, on_progress: Callable[[Progress], None] | None = None
) -> Trained:
    """Train a recipe of a transfer, from its latest checkpoint on."""
    weights = recipe.output / "weights.safetensors"
    head = recipe.output / TRAINED_HEAD if recipe.task != "feature-distillation" else None
    if not weights.exists():
        model = build_model(recipe, world.device)
        loader = build_loader(recipe, model)
        train(recipe, model=model, loader=loader, world=world, resume=True, on_progress=on_progress)
    return Trained(weights, head)


def empty_head(card: ImageTextCard, classes: int, output: Path) -> None:
    """Write a head of zeros on the features of the zoo model `card`."""
    if not output.exists():
        save_head(LinearHead(card.embed_dim, classes, of=card.name), output)
