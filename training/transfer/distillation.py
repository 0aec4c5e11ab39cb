"""The two ways to learn from a teacher on a transfer set: its task outputs, or its features."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.distributed import ProcessGroup
from torch.nn import functional as F

from zoo.models.image_text_model import ImageTextModel
from zoo.reinforced_data.engine.frozen import frozen
from zoo.training.tasks.task import Batch, Features
from zoo.training.transfer.head import LinearHead, write_trained_head
from zoo.training.transfer.image_task import ImageTask, device_of


class TaskDistillation(ImageTask):
    """Task-oriented transfer: tower and a head of its own learn the teacher head's outputs.

    The loss is the mean over the batch of T² · KL(softmax(t / T) ‖ softmax(s / T)), with logits
    t = teacher_head(stored embedding of that very augmentation) and s = head(tower(picture)), and
    temperature T (arXiv 1503.02531, section 2: T² keeps the gradient's size). The labels, if there
    are any, are not looked at.
    """

    def __init__(
        self,
        model: ImageTextModel,
        *,
        teacher_head: LinearHead,
        temperature: float = 1.0,
        group: ProcessGroup | None = None,
    ) -> None:
        """Take the head fitted on the teacher's features; it is frozen here."""
        self.stored = f"teacher_image.{teacher_head.of}"
        super().__init__(model, ("image", self.stored), group=group)
        device = device_of(model)
        self.head = LinearHead(model.card.embed_dim, teacher_head.classes, of=model.card.name).to(
            device
        )
        self.teacher_head = frozen(teacher_head).to(device)
        self.temperature = temperature

    def write_own(self, tensors: Mapping[str, Tensor], folder: Path) -> None:
        """Write the student's head, head.safetensors."""
        write_trained_head(tensors, folder, of=self.model.card.name)

    def forward(self, batch: Batch) -> Features:
        return {"logits": self.head(self.image_features(batch))}

    def losses(self, features: Features, batch: Batch) -> dict[str, Tensor]:
        with torch.no_grad():
            asked = self.teacher_head(batch[self.stored])
        target = F.log_softmax(asked / self.temperature, dim=1)
        found = F.log_softmax(features["logits"] / self.temperature, dim=1)
        divergence = F.kl_div(found, target, reduction="none", log_target=True).sum(dim=1)
        return {"task_distillation_loss": self.temperature**2 * self.batch_mean(divergence)}


class FeatureDistillation(ImageTask):
    """Task-agnostic transfer: the tower's features, projected, point where the teacher's do.

    The loss is the mean over the batch of 1 - cos(projection(tower(picture)), stored embedding).
    The projection is thrown away afterwards.
    """

    def __init__(
        self,
        model: ImageTextModel,
        *,
        teacher: str,
        embed_dim: int,
        group: ProcessGroup | None = None,
    ) -> None:
        """Take the teacher's name in the sidecars and the length of its embeddings."""
        self.stored = f"teacher_image.{teacher}"
        super().__init__(model, ("image", self.stored), group=group)
        self.projection = nn.Linear(model.card.embed_dim, embed_dim, device=device_of(model))

    def forward(self, batch: Batch) -> Features:
        return {"projected": self.projection(self.image_features(batch))}

    def losses(self, features: Features, batch: Batch) -> dict[str, Tensor]:
        cosine = F.cosine_similarity(features["projected"], batch[self.stored], dim=1)
        return {"feature_distillation_loss": self.batch_mean(1 - cosine)}
