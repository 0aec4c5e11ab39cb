"""The masks that a student gives to stored prompts, and what each is held against.

Shape suffixes: B pictures, K prompts of each, N = B·K prompts, V answers: masks of all prompts.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from zoo.models.sam_clip.sam_clip_model import Prompts, SamClipModel
from zoo.reinforced_data.masks.prompts import POINT, TOKENS
from zoo.training.tasks.task import Batch


class Answers(NamedTuple):
    """What the mask decoder says, one row for each answer."""

    masks: Tensor
    """(V, h, w): logits."""
    iou: Tensor
    """(V,): predicted."""
    prompt: Tensor
    """int64 (V,): the prompt that is answered, 0…N - 1; N more for one that is put again."""
    slot: Tensor
    """int64 (V,): which of the teacher's masks of this prompt it is held against."""


def answer_prompts(model: SamClipModel, batch: Batch, *, refine: bool) -> Answers:
    """Return all answers to the prompts of a batch: three of each point, one of the others.

    With `refine`, each prompt is put a second time, with its own first answer (the best one, by
    predicted IoU) as mask prompt: what SAM's training ends with (arXiv 2304.02643, appendix A,
    "Training algorithm"), so that it can read its own masks. Without it, a gradient never reaches
    what reads them.
    """
    pixels = model.preprocessing.normalize(batch["mask_image"])
    embedding = model.mask_embedding(model.tokens(pixels))
    kinds, valid = batch["mask_kind"].flatten(), valid_of(batch)
    answers: list[Answers] = []
    for kind in TOKENS:
        prompt = (kinds == kind).nonzero()[:, 0]
        if len(prompt) == 0:
            continue
        prompts = _prompts_of(kind, prompt, batch)
        pictures = embedding[prompt // batch["mask_kind"].shape[1]]
        first = _choose(model.decode_masks(pictures, prompts), kind, prompt, valid)
        answers.append(first)
        if refine:
            best = _best(first, len(prompt))
            again = prompts._replace(masks=best.masks[:, None].detach())
            masks, iou = model.decode_masks(pictures, again)
            put_again = best.prompt + len(valid)
            answers.append(Answers(masks[:, 0], iou[:, 0], put_again, best.slot))
    return Answers(*map(torch.cat, zip(*answers, strict=True)))


def _prompts_of(kind: int, prompt: Tensor, batch: Batch) -> Prompts:
    count = TOKENS[kind]
    return Prompts(
        batch["mask_points"].flatten(0, 1)[prompt, :count],
        batch["mask_labels"].flatten(0, 1)[prompt, :count],
    )


def _choose(decoded: tuple[Tensor, Tensor], kind: int, prompt: Tensor, valid: Tensor) -> Answers:
    """Take the decoder's masks that answer prompts of a kind, its first or all others."""
    masks, iou = (part[:, 1:] if kind == POINT else part[:, :1] for part in decoded)
    choices = masks.shape[1]
    slot = torch.arange(choices, device=prompt.device).expand(len(prompt), choices)
    # The truth knows one mask of a prompt, so each of the answers is held against that one.
    slot = torch.where(has_one(valid[prompt])[:, None], only(valid[prompt])[:, None], slot)
    return Answers(
        masks.flatten(0, 1), iou.flatten(), prompt.repeat_interleave(choices), slot.flatten()
    )


def _best(answers: Answers, prompts: int) -> Answers:
    """Return of each prompt the answer with the highest predicted IoU."""
    iou = answers.iou.unflatten(0, (prompts, -1))
    row = torch.arange(prompts, device=iou.device) * iou.shape[1] + iou.argmax(dim=1)
    return Answers(*(part[row] for part in answers))


def valid_of(batch: Batch) -> Tensor:
    """Return bool (N, M): which masks the teacher has of every prompt."""
    return batch["mask_valid"].flatten(0, 1)


def has_one(valid: Tensor) -> Tensor:
    """Return (N,): whether the teacher has exactly one mask of a prompt; `valid` is (N, M)."""
    return valid.sum(dim=1) == 1


def only(valid: Tensor) -> Tensor:
    """Return (N,): the slot of the first mask that the teacher has of a prompt."""
    return valid.int().argmax(dim=1)


def teachers_masks(answers: Answers, batch: Batch) -> tuple[Tensor, Tensor]:
    """Return what the answers are held against: logits (V, h, w) and predicted IoU (V,)."""
    stored = batch["mask_logits"].flatten(0, 1), batch["mask_iou"].flatten(0, 1)
    prompt = answers.prompt % len(stored[0])
    masks, iou = (part[prompt, answers.slot].to(answers.masks.dtype) for part in stored)
    return masks, iou


def mean_of_prompts(losses: Tensor, answers: Answers, valid: Tensor) -> Tensor:
    """Return (N,): the mean over the answers (V,) to each prompt, held against the masks that the
    teacher has, `valid` (N, M); 0 of a prompt that it has none of."""
    counts = valid[answers.prompt, answers.slot]
    prompt = answers.prompt[counts]
    size = torch.bincount(prompt, minlength=len(valid)).clamp(min=1)
    return losses.new_zeros(len(valid)).index_add(0, prompt, losses[counts]) / size


def loss_of_prompts(losses: Tensor, answers: Answers, valid: Tensor) -> Tensor:
    """Return (N,): as `mean_of_prompts`, but where the teacher has one mask of a point, the
    smallest of the three answers' losses, which is SAM's rule for the truth."""
    least = losses.new_zeros(len(valid)).scatter_reduce(
        0, answers.prompt, losses, "amin", include_self=False
    )
    return torch.where(has_one(valid), least, mean_of_prompts(losses, answers, valid))
