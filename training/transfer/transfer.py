"""A whole transfer: head, transfer set, and a tower trained in three ways that are compared."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Literal, get_args

from zoo.models.card import ImageTextCard
from zoo.models.registry import get_card_of
from zoo.reinforced_data.curation.pool import OnProgress, find_sidecars, no_progress
from zoo.training.checkpoints.claim import claim_folder
from zoo.training.metrics.progress import Progress
from zoo.training.parallel.world import World
from zoo.training.recipes.recipe import Recipe
from zoo.training.transfer import stages
from zoo.training.transfer.head import load_head
from zoo.training.transfer.labelled import load_labelled
from zoo.training.transfer.settings import TransferSettings
from zoo.training.transfer.stages import Trained

Way = Literal["task-oriented", "task-agnostic", "labels-only"]
WAYS: tuple[Way, ...] = get_args(Way)

OnTraining = Callable[[str, Progress], None]
"""Called with the stage's name and how far its run is."""

# What may differ between the command that began a transfer and the one that goes on with it.
_FREE_FIELDS = ("output", "workers")


class Transfer:
    """The stages of a transfer in one folder; what is finished there is not done again."""

    def __init__(
        self,
        settings: TransferSettings,
        *,
        world: World,
        on_progress: OnProgress = no_progress,
        on_training: OnTraining | None = None,
    ) -> None:
        """Look whether the pool is reinforced and whether the folder may be used.

        Raises ValueError where a sidecar is missing or the folder holds another transfer.
        """
        find_sidecars(settings.pool)
        self.settings = settings
        self._world = world
        self._on_progress, self._on_training = on_progress, on_training
        claim_folder(settings.output / "transfer.json", _record(settings))

    @property
    def teacher_head(self) -> Path:
        """The head on the teacher's features."""
        return self.settings.output / "teacher-head.safetensors"

    @property
    def transfer_set(self) -> Path:
        """The subset of the pool that the towers are distilled on."""
        return self.settings.output / "transfer.subset.safetensors"

    def prepare(self) -> None:
        """Choose the labelled pictures, fit the teacher's head, retrieve the transfer set."""
        settings, features = self.settings, self.settings.output / "teacher.safetensors"
        if self._labels is not None and settings.labels_per_class is not None:
            few = settings.labels_per_class
            stages.choose_few(settings.labelled, few, self._labels, seed=settings.seed)
        stages.encode(
            settings.labelled,
            settings.teacher,
            features,
            subset=self._labels,
            device=self._world.device,
            on_progress=self._on_progress,
        )
        stages.fit(features, self.teacher_head)
        stages.retrieve_transfer_set(
            settings.pool,
            self.teacher_head,
            features,
            self.transfer_set,
            quota=settings.quota,
            on_progress=self._on_progress,
        )

    def train(self, way: Way) -> Trained:
        """Train the tower in one way, from what `prepare` wrote to its tower and head."""
        settings, folder = self.settings, self.settings.output / way
        labels, batch_size = self._labels, self._batch_size
        if way == "labels-only":
            head = self._starting_head(settings.init, folder)
            recipe = settings.labels_only(head, labels, batch_size)
        elif way == "task-oriented":
            distilled = self._run(
                settings.task_distillation(self.transfer_set, self.teacher_head), way
            )
            assert distilled.head is not None
            recipe = settings.fine_tuning(distilled.weights, distilled.head, labels, batch_size)
        else:
            distilled = self._run(settings.feature_distillation(self.transfer_set), way)
            head = self._starting_head(distilled.weights, folder)
            recipe = settings.fine_tuning(distilled.weights, head, labels, batch_size)
        return self._run(replace(recipe, output=folder / "fine-tuning"), way)

    @property
    def _labels(self) -> Path | None:
        """The subset of the labelled shards; None where all of them are used."""
        if self.settings.labels_per_class is None:
            return None
        return self.settings.output / "labels.subset.safetensors"

    @property
    def _batch_size(self) -> int:
        """Samples a step of the labelled pictures."""
        labelled = load_labelled(self.settings.output / "teacher.safetensors")
        return min(self.settings.batch_size, len(labelled.labels))

    def _starting_head(self, weights: Path | None, folder: Path) -> Path:
        """Fit a head on the tower's features before both are trained, so that the first steps do
        not spoil them (arXiv 2202.10054); a random tower's are worth nothing."""
        settings, head = self.settings, folder / "starting-head.safetensors"
        card = get_card_of(ImageTextCard, settings.model)
        if weights is None:
            stages.empty_head(card, load_head(self.teacher_head).classes, head)
            return head
        features = folder / "features.safetensors"
        stages.encode(
            settings.labelled,
            f"{card.name}=zoo:{card.name}@{weights}",
            features,
            subset=self._labels,
            device=self._world.device,
            on_progress=self._on_progress,
        )
        stages.fit(features, head)
        return head

    def _run(self, recipe: Recipe, way: Way) -> Trained:
        name = f"{way}, {recipe.output.name}"

        def show(progress: Progress) -> None:
            if self._on_training is not None:
                self._on_training(name, progress)

        return stages.run_training(recipe, world=self._world, on_progress=show)


def _record(settings: TransferSettings) -> dict[str, Any]:
    """Return the settings as they look after a round trip through JSON."""
    fields = {name: value for name, value in asdict(settings).items() if name not in _FREE_FIELDS}
    return json.loads(json.dumps(fields, default=str))
