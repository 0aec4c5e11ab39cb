"""Learning from a CLIP's embeddings and a SAM's masks in one step."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.distributed import ProcessGroup

from zoo.models.sam_clip.overlap import mask_iou
from zoo.models.sam_clip.sam_clip_model import SamClipModel
from zoo.reinforced_data.sidecars.header import TeacherInfo
from zoo.training.parallel.collectives import total
from zoo.training.recipes.recipe import Recipe
from zoo.training.sam_clip.answers import (
    Answers,
    answer_prompts,
    loss_of_prompts,
    mean_of_prompts,
    teachers_masks,
    valid_of,
)
from zoo.training.sam_clip.losses import embedding_loss, iou_loss, mask_loss
from zoo.training.sam_clip.settings import SamClip
from zoo.training.tasks.task import Batch, Features, Task
from zoo.training.transfer.build import stored_teacher


class SamClipTask(Task[SamClipModel]):
    """Multi-task distillation (arXiv 2310.15308, section 3.3): L = L_CLIP + λ L_SAM.

    L_CLIP is the mean over pictures of 1 - cos(student, stored embedding), L_SAM that over prompts
    of 20 focal + dice + squared error of the predicted IoU, see `zoo.training.sam_clip.losses`.
    Either stream may be absent, as the settings say. The paper goes backward once for each loss and
    adds the gradients up in the tower: the gradient of the sum, which is taken here.

    Batches, of B pictures with embeddings and P with K prompts each:

        image               uint8   (B, 3, S, S)      S is another from batch to batch
        teacher_image.NAME  float   (B, D)            what the CLIP teacher says of it
        mask_image          uint8   (P, 3, T, T)      in SAM's square
        mask_points         float32 (P, K, 3, 2)      x and y as fractions of that square
        mask_labels         int64   (P, K, 3)         of the points, filled up with NOT_A_POINT
        mask_kind           int64   (P, K)            0 point, 1 box, 2 box and point
        mask_logits         float16 (P, K, M, h, w)   the SAM teacher's answers
        mask_iou            float32 (P, K, M)         its predicted IoU, 1 where it is the truth
        mask_valid          bool    (P, K, M)         which of the M answers there are
    """

    adds_up = True

    def __init__(
        self,
        model: SamClipModel,
        settings: SamClip,
        *,
        teacher: TeacherInfo | None,
        group: ProcessGroup | None = None,
    ) -> None:
        """Take the CLIP teacher in the batches; None where only masks are learned.

        Raises ValueError for one whose embeddings have another length than the model's.
        """
        super().__init__(model, _keys(settings, teacher), group=group)
        self.settings = settings
        # A SAM has to learn to read masks; that of the merged model is frozen and can already.
        self._refine = settings.train == "masks"
        self.stored = f"teacher_image.{teacher.name}" if teacher else ""
        if teacher and teacher.embed_dim != model.card.embed_dim:
            raise ValueError(
                f"The teacher '{teacher.name}' has {teacher.embed_dim} numbers an embedding, but "
                f"the text tower of {model.card.name} takes {model.card.embed_dim}; learn from "
                "the teacher whose text tower the model has."
            )
        self._agreement: Tensor | None = None

    def check_batch(self, batch: Batch) -> None:
        """Raise ValueError when a key is missing or the stored masks have another grid than the
        model's."""
        super().check_batch(batch)
        if not self.settings.reads_masks:
            return
        grid = 4 * batch["mask_image"].shape[-1] // self.model.card.stride
        stored = batch["mask_logits"].shape[-1]
        if stored != grid:
            raise ValueError(
                f"The mask sidecars hold masks of {stored} pixels a side, but those of "
                f"{self.model.card.name} have {grid}; reinforce the shards with a SAM of its size."
            )

    def with_shares(self, batch: Batch) -> Batch:
        """Add `picture_share` (B,) and `prompt_share` (P, K): 1 over the number of pictures, and of
        prompts of which the teacher has a mask, in the global batch."""
        shares: dict[str, Tensor] = {}
        if self.settings.reads_embeddings:
            shares["picture_share"] = self._share(torch.ones_like(batch["image"][:, 0, 0, 0]))
        if self.settings.reads_masks:
            shares["prompt_share"] = self._share(batch["mask_valid"].any(dim=2))
        self._agreement = None
        return {**batch, **shares}

    def forward(self, batch: Batch) -> Features:
        """Return `image` (B, D), not normalised, and the fields of `Answers`, whichever there
        are."""
        features: Features = {}
        if self.settings.reads_embeddings:
            pixels = self.model.preprocessing.normalize(batch["image"])
            features["image"] = self.model.encode_image(pixels)
        if self.settings.reads_masks:
            features |= answer_prompts(self.model, batch, refine=self._refine)._asdict()
        return features

    def losses(self, features: Features, batch: Batch) -> dict[str, Tensor]:
        losses: dict[str, Tensor] = {}
        if self.settings.reads_embeddings:
            distance = embedding_loss(features["image"], batch[self.stored])
            losses["clip_loss"] = total((distance * batch["picture_share"]).sum(), self.group)
        if self.settings.reads_masks:
            answers = Answers(*(features[name] for name in Answers._fields))
            losses |= self._mask_losses(answers, batch)
        return losses

    def compiled_parts(self) -> list[nn.Module]:
        """The tower's blocks and what reads them: they are called, and not the tower itself."""
        tower = self.model.image_encoder
        parts: list[nn.Module] = list(tower.get_submodule("blocks").children())
        if self.settings.reads_embeddings:
            parts.append(self.model.clip_head)
        if self.settings.reads_masks:
            parts += [tower.get_submodule("neck"), self.model.mask_decoder]
        return parts

    def gauges(self) -> dict[str, float]:
        """Return the mean IoU of the last batch's answers with the teacher's masks."""
        return {} if self._agreement is None else {"mask_iou": self._agreement.item()}

    def _share(self, counts: Tensor) -> Tensor:
        """What each sample is of the global batch, from whether it counts."""
        count = total(counts.sum(), self.group).clamp(min=1)
        return counts.float() / count

    def _mask_losses(self, answers: Answers, batch: Batch) -> dict[str, Tensor]:
        """Return λ times the masks' loss and that of their predicted IoU."""
        masks, iou = teachers_masks(answers, batch)
        valid, share = valid_of(batch), batch["prompt_share"].flatten()
        rounds = 2 if self._refine else 1
        valid, share = valid.repeat(rounds, 1), share.repeat(rounds) / rounds
        of_masks = loss_of_prompts(mask_loss(answers.masks, masks), answers, valid)
        # Of the predicted IoU all answers' count: it is there to tell the better from the worse.
        of_iou = iou_loss(answers.iou, answers.masks, masks, iou)
        of_iou = mean_of_prompts(of_iou, answers, valid)
        overlap = mask_iou(answers.masks > 0, masks > 0)
        self._watch(1 - loss_of_prompts(1 - overlap, answers, valid), share)
        weight = self.settings.mask_weight if self.settings.reads_embeddings else 1.0
        return {
            "mask_loss": weight * total((of_masks * share).sum(), self.group),
            "iou_loss": weight * total((of_iou * share).sum(), self.group),
        }

    @torch.no_grad()
    def _watch(self, iou: Tensor, share: Tensor) -> None:
        agreement = total((iou * share).sum(), self.group)
        self._agreement = agreement if self._agreement is None else self._agreement + agreement


def build_sam_clip_task(
    recipe: Recipe,
    model: SamClipModel,
    teachers: Mapping[str, TeacherInfo],
    *,
    group: ProcessGroup | None = None,
) -> SamClipTask:
    """Return the task of a recipe; `teachers` are those whose embeddings the batches carry.

    Raises ValueError for a teacher that is not stored or that the model cannot learn from.
    """
    settings = recipe.sam_clip
    assert settings is not None  # as a recipe of this task has
    teacher = stored_teacher(teachers, recipe.teacher) if settings.reads_embeddings else None
    return SamClipTask(model, settings, teacher=teacher, group=group)


def _keys(settings: SamClip, teacher: TeacherInfo | None) -> tuple[str, ...]:
    words = ("image", f"teacher_image.{teacher.name}") if teacher else ()
    if not settings.reads_masks:
        return words
    names = ("image", "points", "labels", "kind", "logits", "iou", "valid")
    return *words, *(f"mask_{name}" for name in names)
