"""MobileCLIP's multi-modal reinforced training."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.distributed import ProcessGroup

from zoo.models.image_text_model import ImageTextModel
from zoo.training.losses.distillation import TeacherPair
from zoo.training.losses.fused import fused_loss
from zoo.training.tasks.task import Batch, Features, ImageTextTask

# Batch keys of each kind of caption and of what the teachers say of it.
_CAPTIONS = (("text", "teacher_text"), ("synthetic_text", "teacher_synthetic"))


class ReinforcedTask(ImageTextTask):
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
        group: ProcessGroup | None = None,
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
        keys = ("image", *(key for key, _ in texts), *stored_keys)
        super().__init__(model, keys, group=group)
        self.texts = texts
        self.teachers = teachers
        self.teacher_logit_scales = dict(teacher_logit_scales)
        self.distillation_weight = distillation_weight

    def forward(self, batch: Batch) -> Features:
        return self.encode(batch["image"], **{key: batch[key] for key, _ in self.texts})

    def losses(self, features: Features, batch: Batch) -> dict[str, Tensor]:
        weight = self.distillation_weight
        pairs = [
            fused_loss(
                features["image"],
                features[key],
                features["logit_scale"],
                teachers=self._teacher_pairs(batch, stored),
                distillation_weight=weight,
                group=self.group,
            )
            for key, stored in self.texts
        ]
        losses: dict[str, Tensor] = {}
        if weight < 1:
            losses["contrastive_loss"] = torch.stack([pair.contrastive for pair in pairs]).sum()
        if weight > 0:
            losses["distillation_loss"] = torch.stack([pair.distillation for pair in pairs]).sum()
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
