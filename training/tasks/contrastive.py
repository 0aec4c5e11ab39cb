"""Plain CLIP training."""

from __future__ import annotations

from torch import Tensor
from torch.distributed import ProcessGroup

from zoo.models.image_text_model import ImageTextModel
from zoo.training.losses.fused import fused_loss
from zoo.training.tasks.task import Batch, Features, ImageTextTask


class ContrastiveTask(ImageTextTask):
    """Plain CLIP training on pictures and their ground-truth captions."""

    def __init__(self, model: ImageTextModel, *, group: ProcessGroup | None = None) -> None:
        super().__init__(model, ("image", "text"), group=group)

    def forward(self, batch: Batch) -> Features:
        return self.encode(batch["image"], text=batch["text"])

    def losses(self, features: Features, batch: Batch) -> dict[str, Tensor]:
        image, text, scale = features["image"], features["text"], features["logit_scale"]
        return {"contrastive_loss": fused_loss(image, text, scale, group=self.group).contrastive}
