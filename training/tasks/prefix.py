"""Prefix conditioning."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.distributed import ProcessGroup

from zoo.models.image_text_model import ImageTextModel
from zoo.training.losses.fused import fused_loss
from zoo.training.tasks.task import Batch, Features, ImageTextTask

SYNTHETIC_PREFIX = 187
"""Token that no text contains, in CLIP's vocabulary and in all cut from it: byte 0xFF, of which
utf-8 makes no use."""


class PrefixTask(ImageTextTask):
    """Prefix conditioning: a learned token tells the text tower whose words it reads.

    arXiv 2206.01125 puts a token before every text that names the kind of data it comes from, lets
    each batch hold one kind only, so that no text is told apart by its kind, and uses the prefix of
    captions to test. Here the kinds are ground-truth and synthetic captions, each picture has both,
    and the loss is the sum of CLIP's over the batch's pictures with the one and with the other.

    The prefix of ground-truth captions is the start token, which every text has anyway, and that of
    synthetic ones takes its place. So a prefix costs no position, the weights are an ordinary
    model's, and that model conditions on captions by itself: in the evaluations during training as
    after it. Texts read as synthetic ones need `with_synthetic_prefix`.
    """

    def __init__(self, model: ImageTextModel, *, group: ProcessGroup | None = None) -> None:
        """Let both prefixes begin alike, as the start token of the weights that `model` has."""
        super().__init__(model, ("image", "text", "synthetic_text"), group=group)
        tokens = model.text_encoder.get_submodule("token_embedding").get_parameter("weight")
        start = model.tokenize("")[0, 0]
        with torch.no_grad():
            tokens[SYNTHETIC_PREFIX] = tokens[start]

    def forward(self, batch: Batch) -> Features:
        synthetic = with_synthetic_prefix(batch["synthetic_text"])
        return self.encode(batch["image"], text=batch["text"], synthetic_text=synthetic)

    def losses(self, features: Features, batch: Batch) -> dict[str, Tensor]:
        image, scale = features["image"], features["logit_scale"]
        text, synthetic = (
            fused_loss(image, features[kind], scale, group=self.group).contrastive
            for kind in ("text", "synthetic_text")
        )
        return {"contrastive_loss": text, "synthetic_loss": synthetic}


def with_synthetic_prefix(text: Tensor) -> Tensor:
    """Return token ids (B, T) whose start token is replaced by the prefix of synthetic captions."""
    prefix = torch.full_like(text[:, :1], SYNTHETIC_PREFIX)
    return torch.cat([prefix, text[:, 1:]], dim=1)
