"""A task is a model, a loss and the batch keys it needs: a batch goes in, named losses come out.

The training loop knows none of this: it adds the named losses up, whatever they are. Batches are
dicts of tensors on the model's device:

    image                    uint8  (B, 3, S, S)   one augmentation of each picture
    text                     int64  (B, T)         one ground-truth caption of each
    synthetic_text           int64  (B, T)         one synthetic caption of each
    teacher_image.NAME       float  (B, D_k)       what teacher NAME says of that very augmentation
    teacher_text.NAME        float  (B, D_k)       … of that ground-truth caption
    teacher_synthetic.NAME   float  (B, D_k)       … of that synthetic caption
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from zoo.models.image_text_model import MAX_LOGIT_SCALE, ImageTextModel
from zoo.reinforced_data.sidecars.header import TeacherInfo
from zoo.training.losses import TeacherPair, contrastive_loss, distillation_loss
from zoo.training.recipes import Recipe

Batch = Mapping[str, Tensor]


class Features(NamedTuple):
    """What the towers make of a batch; everything a loss needs from the student."""

    image: Tensor
    """(B, D), L2-normalised."""
    text: Tensor
    """(B, D), or (2B, D) when ground-truth and synthetic captions are stacked; L2-normalised."""
    logit_scale: Tensor
    """Scalar multiplier, exp(model.logit_scale)."""


class Task(nn.Module):
    """Model + loss + batch keys.

    `encode` and `losses` are apart so that features can be cached between them.
    """

    def __init__(self, model: ImageTextModel, batch_keys: tuple[str, ...]) -> None:
        super().__init__()
        self.model = model
        self.batch_keys = batch_keys

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Return the named losses, weights applied: their plain sum is what is minimised.

        Raises ValueError when the batch lacks one of `batch_keys`.
        """
        missing = [key for key in self.batch_keys if key not in batch]
        if missing:
            raise ValueError(
                f"{type(self).__name__} needs {', '.join(missing)} in a batch, "
                f"which has only {', '.join(sorted(batch))}; the data must be made for this task."
            )
        return self.losses(self.encode(batch), batch)

    def encode(self, batch: Batch) -> Features:
        """Run the towers once each."""
        raise NotImplementedError

    def losses(self, features: Features, batch: Batch) -> dict[str, Tensor]:
        """Compare the features with each other and with what the batch stores."""
        raise NotImplementedError

    @torch.no_grad()
    def after_step(self) -> None:
        """Bring parameters back into their permitted range after the optimizer has moved them."""
        self.model.logit_scale.clamp_(max=math.log(MAX_LOGIT_SCALE))

    def gauges(self) -> dict[str, float]:
        """Return figures worth logging that are not losses: the multiplier of the similarities."""
        return {"logit_scale": self.model.logit_scale.exp().item()}

    def _encode(self, image: Tensor, text: Tensor) -> Features:
        """image uint8 (B, 3, S, S), text int64 (N, T) -> normalised features of both."""
        pixels = self.model.preprocessing.normalize(image)
        return Features(
            image=self.model.encode_image(pixels, normalize=True),
            text=self.model.encode_text(text, normalize=True),
            logit_scale=self.model.logit_scale.exp(),
        )


class ContrastiveTask(Task):
    """Plain CLIP training on pictures and their ground-truth captions."""

    def __init__(self, model: ImageTextModel) -> None:
        super().__init__(model, ("image", "text"))

    def encode(self, batch: Batch) -> Features:
        return self._encode(batch["image"], batch["text"])

    def losses(self, features: Features, batch: Batch) -> dict[str, Tensor]:
        return {"contrastive_loss": contrastive_loss(*features)}


# Batch keys of each kind of caption and of what the teachers say of it.
_CAPTIONS = (("text", "teacher_text"), ("synthetic_text", "teacher_synthetic"))


class ReinforcedTask(Task):
    """MobileCLIP's multi-modal reinforced training (arXiv 2311.17049, section 4.1).

    pair(I, T) = (1 - λ) · contrastive + λ · distillation, and the loss is the sum, not the mean,
    of pair(I, T_gt) and pair(I, T_syn). The image tower sees each picture once; the text tower sees
    ground-truth and synthetic captions in one pass. A term whose weight is 0 is not computed.
    Where the data mix the captions into one a picture, there is one pair and no sum.
    """

    def __init__(
        self,
        model: ImageTextModel,
        *,
        teacher_logit_scales: Mapping[str, float],
        distillation_weight: float,
        mixed_captions: bool = False,
    ) -> None:
        """Take each stored teacher's similarity multiplier (e.g. {"vit-l": 100.0}) and λ in [0, 1].

        `mixed_captions`: the batches have one caption a picture, `text`, of either kind.
        Raises ValueError when λ is above 0 and there is no teacher.
        """
        if distillation_weight > 0 and not teacher_logit_scales:
            raise ValueError(
                f"distillation_weight is {distillation_weight:g} but the data stores no teacher; "
                "run `zoo reinforce` on the shards first, or train with task=contrastive."
            )
        teachers = tuple(teacher_logit_scales) if distillation_weight > 0 else ()
        texts = _CAPTIONS[:1] if mixed_captions else _CAPTIONS
        stored = ("teacher_image", *(teacher_key for _, teacher_key in texts))
        stored_keys = tuple(f"{kind}.{name}" for name in teachers for kind in stored)
        super().__init__(model, ("image", *(key for key, _ in texts), *stored_keys))
        self.texts = texts
        self.teachers = teachers
        self.teacher_logit_scales = dict(teacher_logit_scales)
        self.distillation_weight = distillation_weight

    def encode(self, batch: Batch) -> Features:
        return self._encode(batch["image"], torch.cat([batch[key] for key, _ in self.texts]))

    def losses(self, features: Features, batch: Batch) -> dict[str, Tensor]:
        kinds = features.text.chunk(len(self.texts))
        pairs = [(text, kind) for text, (_, kind) in zip(kinds, self.texts, strict=True)]
        image, scale, weight = features.image, features.logit_scale, self.distillation_weight
        losses: dict[str, Tensor] = {}
        if weight < 1:
            contrastive = [contrastive_loss(image, text, scale) for text, _ in pairs]
            losses["contrastive_loss"] = (1 - weight) * sum(contrastive, torch.zeros_like(scale))
        if weight > 0:
            distillation = [
                distillation_loss(image, text, scale, self._teacher_pairs(batch, kind))
                for text, kind in pairs
            ]
            losses["distillation_loss"] = weight * sum(distillation, torch.zeros_like(scale))
        return losses

    def _teacher_pairs(self, batch: Batch, text_kind: str) -> list[TeacherPair]:
        """Return every teacher's stored embeddings of the pictures and of one kind of caption."""
        return [
            TeacherPair(
                batch[f"teacher_image.{name}"],
                batch[f"{text_kind}.{name}"],
                self.teacher_logit_scales[name],
            )
            for name in self.teachers
        ]


def build_task(recipe: Recipe, model: ImageTextModel, teachers: Mapping[str, TeacherInfo]) -> Task:
    """Return the task of a recipe; `teachers` are those whose embeddings the batches carry."""
    if recipe.task == "contrastive":
        return ContrastiveTask(model)
    scales = {name: teacher.logit_scale for name, teacher in teachers.items()}
    return ReinforcedTask(
        model,
        teacher_logit_scales=scales,
        distillation_weight=recipe.distillation_weight,
        mixed_captions=recipe.synthetic_ratio is not None,
    )
