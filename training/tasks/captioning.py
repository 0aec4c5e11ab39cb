"""CoCa training, which makes captioners."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.distributed import ProcessGroup
from torch.nn import functional as F

from zoo.training.losses.fused import fused_loss
from zoo.training.parallel.collectives import total
from zoo.training.tasks.coca_model import CocaModel
from zoo.training.tasks.task import Batch, Features, ImageTextTask

CONTRASTIVE_WEIGHT = 1.0
CAPTION_WEIGHT = 2.0
"""Weights of the two losses (arXiv 2205.01917, section 4.1)."""
_IGNORED = -100
"""No token: what `cross_entropy` passes over."""


class CaptioningTask(ImageTextTask):
    """CoCa: contrastive training and captioning in one pass (arXiv 2205.01917, section 3.2).

    L = λ_con · L_con + λ_cap · L_cap, where L_cap is the mean over all caption tokens of the batch,
    the end token included and padding ignored, of -log P(token | tokens before it, picture).

    The trained weights are a captioner's: `zoo reinforce --captioner open_clip:MODEL@WEIGHTS`.
    """

    model: CocaModel

    def __init__(self, model: CocaModel, *, group: ProcessGroup | None = None) -> None:
        super().__init__(model, ("image", "text"), group=group)

    def forward(self, batch: Batch) -> Features:
        """Return features (B, D), and of each caption the sum (B,) over its tokens of -log P."""
        pixels = self.model.preprocessing.normalize(batch["image"])
        image, image_tokens = self.model.visual(pixels)
        text, text_tokens = self.model.text(batch["text"])
        # Past the longest caption there is only padding, and logits over the vocabulary are large.
        longest = int(_length(batch["text"]).max())
        logits = self.model.text_decoder(image_tokens, text_tokens[:, :longest])
        return {
            "image": F.normalize(image, dim=-1),
            "text": F.normalize(text, dim=-1),
            "caption": _surprise(logits, batch["text"]),
            "logit_scale": self.model.logit_scale.exp(),
        }

    def losses(self, features: Features, batch: Batch) -> dict[str, Tensor]:
        image, text, scale = features["image"], features["text"], features["logit_scale"]
        contrastive = fused_loss(image, text, scale, group=self.group).contrastive
        tokens = total(_length(batch["text"]).sum(), self.group)
        caption = total(features["caption"].sum(), self.group) / tokens
        return {
            "contrastive_loss": CONTRASTIVE_WEIGHT * contrastive,
            "caption_loss": CAPTION_WEIGHT * caption,
        }


def _length(text: Tensor) -> Tensor:
    """Return (B,): tokens of each text (B, T) that follow another; the end has the largest id."""
    return text.argmax(dim=1)


def _surprise(logits: Tensor, text: Tensor) -> Tensor:
    """Return (B,): the sum over tokens of -log P, given logits (B, L, V) of tokens 1 … L.

    Padding is what follows the end token: its id, 0, is an exclamation mark's too.
    """
    place = torch.arange(1, logits.shape[1] + 1, device=text.device)
    target = text[:, 1 : len(place) + 1].masked_fill(place > _length(text)[:, None], _IGNORED)
    losses = F.cross_entropy(
        logits.transpose(1, 2), target, ignore_index=_IGNORED, reduction="none"
    )
    return losses.sum(dim=1)
