"""Classification with a linear head: what a transfer ends with."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor
from torch.distributed import ProcessGroup
from torch.nn import functional as F

from zoo.models.image_text_model import ImageTextModel
from zoo.training.tasks.task import Batch, Features
from zoo.training.transfer.head import LinearHead, write_trained_head
from zoo.training.transfer.image_task import ImageTask, device_of


class ClassificationHead(ImageTask):
    """Tower and linear head learn labels by cross-entropy."""

    def __init__(
        self, model: ImageTextModel, *, head: LinearHead, group: ProcessGroup | None = None
    ) -> None:
        """Take the head to begin with. Raises ValueError for that of another model's features."""
        super().__init__(model, ("image", "label"), group=group)
        card = model.card
        if (head.of, head.features) != (card.name, card.embed_dim):
            raise ValueError(
                f"The head is of {head.features} features of {head.of}, but {card.name} has "
                f"{card.embed_dim}; give a head that was made for it."
            )
        self.head = head.to(device_of(model))

    def check_batch(self, batch: Batch) -> None:
        """Raise ValueError when a key is missing or a label is not one of the head's classes."""
        super().check_batch(batch)
        lowest, highest = (int(label) for label in batch["label"].aminmax())
        if lowest < 0 or highest >= self.head.classes:
            raise ValueError(
                f"A label is {lowest if lowest < 0 else highest}, but the head has "
                f"{self.head.classes} classes, counted from 0; fit it on all of them."
            )

    def write_own(self, tensors: Mapping[str, Tensor], folder: Path) -> None:
        """Write the head, head.safetensors."""
        write_trained_head(tensors, folder, of=self.model.card.name)

    def forward(self, batch: Batch) -> Features:
        return {"logits": self.head(self.image_features(batch))}

    def losses(self, features: Features, batch: Batch) -> dict[str, Tensor]:
        losses = F.cross_entropy(features["logits"], batch["label"], reduction="none")
        return {"classification_loss": self.batch_mean(losses)}
