"""Everything that decides a transfer."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from zoo.models.card import ImageTextCard
from zoo.models.registry import get_card_of
from zoo.reinforced_data.augmentation.policy import AugmentationPolicy
from zoo.reinforced_data.engine.teachers import parse_teacher_spec
from zoo.training.recipes.recipe import Recipe
from zoo.training.transfer.recipes import (
    classification_head,
    feature_distillation,
    task_distillation,
)

_WARMUP = 0.05  # of a stage's samples


@dataclass(frozen=True, kw_only=True)
class TransferSettings:
    """Everything that decides a transfer. Raises ValueError for values that cannot work."""

    pool: str
    """Reinforced shards that the transfer set is retrieved from; labels are not looked at."""
    labelled: str
    """Shards with a class (.cls) for every picture."""
    teacher: str
    """The teacher as `zoo reinforce` was given it: [NAME=]zoo:MODEL[@WEIGHTS] or
    [NAME=]open_clip:MODEL@TAG."""
    output: Path
    """Folder of everything that the stages write."""
    model: str = "mobileclip-tiny"
    """The small model whose image tower is trained."""
    init: Path | None = None
    """Weights that the tower begins with, in every way; None draws random ones from the seed."""
    labels_per_class: int | None = None
    """Labelled pictures of each class to use, drawn by the seed; None uses all."""
    quota: int = 50
    """Pictures of the transfer set for each labelled one."""
    batch_size: int = 128
    """Samples a step; of the labelled pictures at most as many as there are."""
    distillation_samples: int = 51_200
    """Samples seen of the transfer set."""
    distillation_learning_rate: float = 2e-3
    """Peak, also where labels alone train a tower."""
    distillation_temperature: float = 1.0
    """What the logits of both sides are divided by before the softmax."""
    fine_tuning_samples: int = 6_400
    """Samples seen of the labelled pictures; where labels alone train a tower, it sees as many as
    in both stages together."""
    fine_tuning_learning_rate: float = 2e-4
    """Peak of the last stage."""
    augmentation: AugmentationPolicy = field(default_factory=AugmentationPolicy)
    """Of the labelled pictures; those of the pool are stored already."""
    channels_last: bool = False
    """Keep the image tower's weights in channels_last order; see `zoo train`."""
    seed: int = 0
    """Decides the labelled pictures, the initial weights and the order of the data."""
    workers: int = 0
    """Processes that prepare batches; 0 prepares them in the training process."""

    def __post_init__(self) -> None:
        for name in ("quota", "labels_per_class"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} is {value}; give at least 1.")
        get_card_of(ImageTextCard, self.model)
        # Each raises for values that its training could not work with, before any is begun.
        self.task_distillation(Path(), Path())
        self.feature_distillation(Path())
        self.fine_tuning(self.init, Path(), None, self.batch_size)
        self.labels_only(Path(), None, self.batch_size)

    @property
    def teacher_name(self) -> str:
        """What the pool's sidecars call the teacher."""
        return parse_teacher_spec(self.teacher).name

    def task_distillation(self, transfer_set: Path, head: Path) -> Recipe:
        """Return the recipe that learns the outputs of the teacher's `head`."""
        recipe = replace(
            task_distillation(),
            head=head,
            distillation_temperature=self.distillation_temperature,
            output=self.output / "task-oriented" / "distillation",
        )
        return self._distillation(recipe, transfer_set)

    def feature_distillation(self, transfer_set: Path) -> Recipe:
        """Return the recipe that learns the teacher's features."""
        recipe = replace(
            feature_distillation(),
            teacher=self.teacher_name,
            output=self.output / "task-agnostic" / "distillation",
        )
        return self._distillation(recipe, transfer_set)

    def fine_tuning(
        self, init: Path | None, head: Path, labels: Path | None, batch_size: int
    ) -> Recipe:
        """Return the recipe that fine-tunes a tower and its head; the output is the caller's."""
        recipe = replace(
            classification_head(),
            data=self.labelled,
            subset=labels,
            head=head,
            init=init,
            augmentation=self.augmentation,
        )
        return self._training(
            recipe, self.fine_tuning_samples, self.fine_tuning_learning_rate, batch_size
        )

    def labels_only(self, head: Path, labels: Path | None, batch_size: int) -> Recipe:
        """Return the recipe that trains on labels alone, for as long as both stages take."""
        recipe = self.fine_tuning(self.init, head, labels, batch_size)
        samples = self.distillation_samples + self.fine_tuning_samples
        return self._training(recipe, samples, self.distillation_learning_rate, batch_size)

    def _distillation(self, recipe: Recipe, transfer_set: Path) -> Recipe:
        recipe = replace(recipe, data=self.pool, subset=transfer_set, init=self.init)
        return self._training(
            recipe, self.distillation_samples, self.distillation_learning_rate, self.batch_size
        )

    def _training(
        self, recipe: Recipe, samples: int, learning_rate: float, batch_size: int
    ) -> Recipe:
        return replace(
            recipe,
            model=self.model,
            samples_seen=samples,
            warmup_samples=int(_WARMUP * samples),
            learning_rate=learning_rate,
            batch_size=batch_size,
            channels_last=self.channels_last,
            seed=self.seed,
            workers=self.workers,
        )
