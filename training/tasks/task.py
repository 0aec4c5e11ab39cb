"""What every task has in common."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

import torch
from torch import Tensor, nn
from torch.distributed import ProcessGroup

from zoo.models.image_text_model import MAX_LOGIT_SCALE, ImageTextModel
from zoo.models.trainable import TrainableModel

Batch = Mapping[str, Tensor]
Features = dict[str, Tensor]
"""What the towers make of a batch; everything a loss needs from the student.

A tensor (B, …) has row i from sample i, so that the features of two parts of a batch can be joined.
A scalar, such as `logit_scale`, is the same for every part."""


Model = TypeVar("Model", bound=TrainableModel)


class Task(nn.Module, Generic[Model]):
    """Model + loss + batch keys.

    `forward` runs the towers and `losses` compares what they give. They are apart because the
    towers work on one part of a batch alone, which is what accumulation, several processes and
    compilation wrap, and a contrastive loss needs the whole batch.
    """

    adds_up: ClassVar[bool] = False
    """Whether the losses of a batch are the sums of those of its parts, each times its share: then
    a part needs no other, and goes through the towers once."""

    def __init__(
        self,
        model: Model,
        batch_keys: tuple[str, ...],
        *,
        group: ProcessGroup | None = None,
    ) -> None:
        """`group`: the processes that share every batch; None where this one trains alone."""
        super().__init__()
        self.model = model
        self.batch_keys = batch_keys
        self.group = group

    def check_batch(self, batch: Batch) -> None:
        """Raise ValueError when the batch lacks one of `batch_keys`."""
        missing = [key for key in self.batch_keys if key not in batch]
        if missing:
            raise ValueError(
                f"{type(self).__name__} needs {', '.join(missing)} in a batch, "
                f"which has only {', '.join(sorted(batch))}; the data must be made for this task."
            )

    def with_shares(self, batch: Batch) -> Batch:
        """Where losses add up: return this process's whole batch with what each of its samples
        counts in the global batch, so that `losses` knows it of a part, too."""
        return batch

    def forward(self, batch: Batch) -> Features:
        """Run the towers once each on a batch, or on a part of one."""
        raise NotImplementedError

    def losses(self, features: Features, batch: Batch) -> dict[str, Tensor]:
        """Compare the features with each other and with what the batch stores.

        Returns the named losses, weights applied: their plain sum is what is minimised. With a
        `group`, features and batch are this process's rows; the losses are those of the global
        batch, the same in every process, and their gradients towards this process's features are
        `world size` times the global ones, so that the mean over processes is the gradient.
        """
        raise NotImplementedError

    def compiled_parts(self) -> list[nn.Module]:
        """Return the modules that torch.compile is to fuse, each by itself."""
        names = ("image_encoder", "text_encoder")
        return [self.model.get_submodule(name) for name in names]

    def after_step(self) -> None:
        """Bring parameters back into their permitted range after the optimizer has moved them."""

    def write_own(self, tensors: Mapping[str, Tensor], folder: Path) -> None:
        """Write to the run folder what inference needs and the model's weights do not hold.

        `tensors` are the task's own, whole, by their names in its state dict. There is nothing to
        write unless a task says so.
        """

    def gauges(self) -> dict[str, float]:
        """Return figures worth logging that are not losses."""
        return {}


AnyTask = Task[Any]


class ImageTextTask(Task[ImageTextModel]):
    """A task of two towers that meet in one embedding space."""

    @torch.no_grad()
    def after_step(self) -> None:
        self.model.logit_scale.clamp_(max=math.log(MAX_LOGIT_SCALE))

    def gauges(self) -> dict[str, float]:
        """Return the multiplier of the similarities."""
        return {"logit_scale": self.model.logit_scale.exp().item()}

    def encode(self, image: Tensor, **texts: Tensor) -> Features:
        """Encode pictures and one or more kinds of text, each tower once.

        image uint8 (B, 3, S, S) and every text int64 (B, T) -> L2-normalised features (B, D) under
        the same names, and `logit_scale`, the multiplier.
        """
        pixels = self.model.preprocessing.normalize(image)
        text_features = self.model.encode_text(torch.cat(list(texts.values())), normalize=True)
        return {
            "image": self.model.encode_image(pixels, normalize=True),
            **dict(zip(texts, text_features.chunk(len(texts)), strict=True)),
            "logit_scale": self.model.logit_scale.exp(),
        }
