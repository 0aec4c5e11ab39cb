"""SigLIP training."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.distributed import ProcessGroup

from zoo.models.image_text_model import ImageTextModel
from zoo.training.losses.sigmoid import sigmoid_loss
from zoo.training.tasks.task import Batch, Features, ImageTextTask

# Each pair begins as the unlikely match that it is among all pairs (arXiv 2303.15343, section 3.2).
INITIAL_SCALE = 10.0
INITIAL_BIAS = -10.0


class SigmoidTask(ImageTextTask):
    """SigLIP: every pair of a picture and a text is a yes-or-no question (arXiv 2303.15343).

    L = -1/B Σ_i Σ_j log sigmoid(z_ij (t · x_i y_j + b)), z_ij = 1 where i = j, else -1; the scale t
    and the bias b are learned. They belong together, and a weights file has no bias, so that both
    begin at (10, -10) whatever weights the model starts from.

    The bias is this task's own and is saved in its checkpoints, not with the model's weights: it
    moves all similarities alike, so that zero-shot classification and retrieval, which compare
    them, do without. Who wants the probability sigmoid(t · x_i y_j + b) of a pair finds b as the
    gauge `logit_bias` in the metrics.
    """

    def __init__(self, model: ImageTextModel, *, group: ProcessGroup | None = None) -> None:
        super().__init__(model, ("image", "text"), group=group)
        with torch.no_grad():
            model.logit_scale.fill_(math.log(INITIAL_SCALE))
        self.logit_bias = nn.Parameter(torch.full_like(model.logit_scale, INITIAL_BIAS))

    def forward(self, batch: Batch) -> Features:
        features = self.encode(batch["image"], text=batch["text"])
        return features | {"logit_bias": self.logit_bias.clone()}

    def losses(self, features: Features, batch: Batch) -> dict[str, Tensor]:
        loss = sigmoid_loss(
            features["image"],
            features["text"],
            features["logit_scale"],
            features["logit_bias"],
            group=self.group,
        )
        return {"sigmoid_loss": loss}

    def gauges(self) -> dict[str, float]:
        """Return the scale and the bias of the pairs' logits."""
        return super().gauges() | {"logit_bias": self.logit_bias.item()}
