"""What the tasks of a transfer have in common: they train the image tower alone."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.distributed import ProcessGroup

from zoo.models.image_text_model import ImageTextModel
from zoo.training.parallel.collectives import group_size, total
from zoo.training.tasks.task import Batch, ImageTextTask


class ImageTask(ImageTextTask):
    """A task of the image tower; the text tower and the logit scale are left as they are."""

    def __init__(
        self,
        model: ImageTextModel,
        batch_keys: tuple[str, ...],
        *,
        group: ProcessGroup | None = None,
    ) -> None:
        super().__init__(model, batch_keys, group=group)
        # Without a gradient they would be waited for where several processes train.
        model.text_encoder.requires_grad_(False)
        model.logit_scale.requires_grad_(False)

    def image_features(self, batch: Batch) -> Tensor:
        """Return the tower's features (B, D) of `image`, not normalised."""
        return self.model.encode_image(self.model.preprocessing.normalize(batch["image"]))

    def after_step(self) -> None:
        """Do nothing: no parameter has a permitted range."""

    def gauges(self) -> dict[str, float]:
        """Return nothing: there are no figures beside the loss."""
        return {}

    def batch_mean(self, losses: Tensor) -> Tensor:
        """Return the mean over the global batch of losses (B,), one a sample.

        Its gradient is that of the mean over this process's rows, as `Task.losses` asks.
        """
        return total(losses.mean(), self.group) / group_size(self.group)


def device_of(model: ImageTextModel) -> torch.device:
    """Return where a model's parameters are."""
    return model.logit_scale.device
