"""ALIP's training on two captions, gated by how well they agree."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.distributed import ProcessGroup
from torch.nn import functional as F

from zoo.models.image_text_model import ImageTextModel
from zoo.training.parallel.collectives import gather_rows, own_rows, total
from zoo.training.tasks.task import Batch, Features, ImageTextTask

MOMENTUM = 0.99
"""Of the running means (`train.py` of the original)."""
SHARPNESS = 2.0
"""γ of both gates: the original squares exp(S - H) (`train.py`)."""


class Similarities(NamedTuple):
    """Cosines within each sample, or their running means."""

    texts: Tensor
    """Ground-truth caption and synthetic caption: language consistency."""
    text: Tensor
    """Picture and ground-truth caption: description consistency."""
    synthetic_text: Tensor
    """Picture and synthetic caption: description consistency."""


class GatedTask(ImageTextTask):
    """ALIP: adaptive contrastive training on ground-truth and synthetic captions.

    arXiv 2308.08428, and where the paper leaves a choice, `train.py` of its authors. With S the
    cosines within a sample and H their running means, H ← 0.99 H + 0.01 mean(S) from H = 1 on and
    updated with the very batch that they gate:

        language gate     w_i  = min(1, exp(2 (S_texts - H_texts)))
        description gates v_i  = exp(2 (S_text - H_text)) where w_i < 1, else 1; v'_i alike, of
                                 the synthetic caption; above 1 where a pair is better than most
        L = 1/B Σ_i w_i v_i ℓ_i(picture, text) + 1/B Σ_i w_i v'_i ℓ_i(picture, synthetic_text)

    where ℓ_i is row i's mean of both directions' cross-entropy. No gradient goes through a gate.
    The running means are of the global batch, and saved in this task's checkpoints.
    """

    running_means: Tensor
    """(3,), in the order of `Similarities`."""

    def __init__(self, model: ImageTextModel, *, group: ProcessGroup | None = None) -> None:
        super().__init__(model, ("image", "text", "synthetic_text"), group=group)
        self.register_buffer("running_means", torch.ones(3, device=model.logit_scale.device))
        self._next_means = self.running_means

    def forward(self, batch: Batch) -> Features:
        texts = {key: batch[key] for key in ("text", "synthetic_text")}
        return self.encode(batch["image"], **texts)

    def losses(self, features: Features, batch: Batch) -> dict[str, Tensor]:
        with torch.no_grad():
            cosines = _cosines(features)
            size = total(torch.ones_like(cosines.text).sum(), self.group)
            means = total(torch.stack(cosines).sum(dim=1), self.group) / size
            self._next_means = MOMENTUM * self.running_means + (1 - MOMENTUM) * means
            sample, *pairs = gates(cosines, Similarities(*self._next_means))
        rows = (self._row_losses(features, kind) for kind in ("text", "synthetic_text"))
        text, synthetic = (
            total((sample * pair * row).sum(), self.group) / size
            for pair, row in zip(pairs, rows, strict=True)
        )
        return {"contrastive_loss": text, "synthetic_loss": synthetic}

    @torch.no_grad()
    def after_step(self) -> None:
        """Keep the running means that the step's losses were gated with; cap the logit scale."""
        self.running_means.copy_(self._next_means)
        super().after_step()

    def gauges(self) -> dict[str, float]:
        """Return the multiplier of the similarities and their running means."""
        means = Similarities(*self.running_means)
        named = {f"mean_similarity_{name}": mean.item() for name, mean in means._asdict().items()}
        return super().gauges() | named

    def _row_losses(self, features: Features, kind: str) -> Tensor:
        """Return (b,): the CLIP loss of each of this process's rows within the global batch."""
        image, text, scale = features["image"], features[kind], features["logit_scale"]
        match = own_rows(len(image), self.group, image.device)
        to_texts = scale * image @ gather_rows(text, self.group).T
        to_images = scale * text @ gather_rows(image, self.group).T
        directions = [F.cross_entropy(x, match, reduction="none") for x in (to_texts, to_images)]
        return sum(directions, torch.zeros_like(directions[0])) / 2


def gates(cosines: Similarities, means: Similarities) -> tuple[Tensor, Tensor, Tensor]:
    """Return the weights (B,) of samples, of ground-truth pairs and of synthetic pairs."""
    language, *description = (
        torch.exp(SHARPNESS * (cosine - mean)) for cosine, mean in zip(cosines, means, strict=True)
    )
    doubtful = language < 1
    text, synthetic = (torch.where(doubtful, weight, 1.0) for weight in description)
    return language.clamp(max=1), text, synthetic


def _cosines(features: Features) -> Similarities:
    image, text, synthetic = (features[key] for key in ("image", "text", "synthetic_text"))
    pairs = ((text, synthetic), (image, text), (image, synthetic))
    return Similarities(*((one * other).sum(dim=1) for one, other in pairs))
