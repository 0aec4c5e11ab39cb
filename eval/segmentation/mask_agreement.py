"""How well predicted masks agree with reference masks of the same prompts.

The references are a SAM teacher's masks, which shows what a model forgot of it, or true ones. They
are compared in the square that the tower sees, at the references' resolution.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from zoo.eval.features import evaluation_mode
from zoo.models.sam_clip.overlap import mask_iou
from zoo.models.sam_clip.prompt_encoder import NOT_A_POINT
from zoo.models.sam_clip.sam_clip_model import Prompts, SamClipModel

METRIC = "mask_iou"
"""Over all prompts; of one kind it is `mask_iou/KIND`."""
_FEWEST_POINTS = 2
"""Columns of SAM's prompts: a point comes with one that fills up, a box has two corners."""


@dataclass(frozen=True, kw_only=True)
class PromptedPicture:
    """A picture, N prompts of it and the masks that should answer them."""

    pixels: Tensor
    """uint8 (3, S, S): the picture in SAM's square, filled up with the mean colour."""
    prompts: Prompts
    """Points (N, P, 2) and labels (N, P), filled up at their end with points that are none."""
    kinds: Sequence[str]
    """N names, such as `point` and `box`: the figures are told apart by them."""
    logits: Tensor
    """float (N, M, h, w): of the reference masks, positive inside."""
    valid: Tensor
    """bool (N, M): which of them there are. Three answer a point as SAM's masks 1 to 3 do; one is
    what is meant."""

    def __post_init__(self) -> None:
        count = len(self.prompts.points)
        for name in ("kinds", "logits", "valid"):
            if len(getattr(self, name)) != count:
                raise ValueError(
                    f"{name} are {len(getattr(self, name))} for {count} prompts; give one each."
                )


class MaskAgreement:
    """Adds up the IoU of prompts; `metrics` are their means, fractions 0…1."""

    def __init__(self) -> None:
        self._ious: dict[str, list[float]] = defaultdict(list)

    def add(self, kinds: Sequence[str], ious: Tensor) -> None:
        """Take in the IoU (N,) of prompts of these kinds."""
        for kind, iou in zip(kinds, ious.tolist(), strict=True):
            self._ious[kind].append(iou)

    def metrics(self) -> dict[str, float]:
        """Return `mask_iou`, the mean over all prompts, and `mask_iou/KIND` of each kind.

        Raises ValueError where there was no prompt.
        """
        if not self._ious:
            raise ValueError("No prompt was given to measure masks with; give at least one.")
        values = [iou for ious in self._ious.values() for iou in ious]
        kinds = {
            f"{METRIC}/{kind}": sum(ious) / len(ious) for kind, ious in sorted(self._ious.items())
        }
        return {METRIC: sum(values) / len(values), **kinds}


def mask_agreement(model: SamClipModel, pictures: Iterable[PromptedPicture]) -> dict[str, float]:
    """Return the mean IoU of the model's masks with the references: see `MaskAgreement.metrics`.

    The model runs in eval mode on its own device, one pass of the tower a picture, and gets its
    modes back. Raises ValueError where there is no prompt.
    """
    agreement = MaskAgreement()
    with evaluation_mode(model):
        for picture in pictures:
            agreement.add(picture.kinds, prompt_ious(model, picture))
    return agreement.metrics()


def prompt_ious(model: SamClipModel, picture: PromptedPicture) -> Tensor:
    """Return the IoU (N,) of the model's answer to each prompt with its reference.

    Where a point has three references, SAM's three masks are compared with them in their order and
    the mean counts: distillation keeps that order. Where a point has one, the mask counts that the
    model itself is most confident of, as SAM's evaluation does (arXiv 2304.02643, section 7.1).
    """
    weight = next(model.parameters())
    pixels = model.preprocessing.normalize(picture.pixels.to(weight.device))[None]
    embedding = model.mask_embedding(model.tokens(pixels.to(weight.dtype)))
    ious = torch.empty(len(picture.kinds))
    for rows, points, labels in _of_one_form(picture.prompts):
        prompts = Prompts(points.to(weight.device), labels.to(weight.device))
        logits, confidence = model.decode_masks(embedding, prompts)
        is_point = _real(labels) == 1
        ious[rows] = _ious(
            logits.float().cpu(),
            confidence.float().cpu(),
            is_point,
            picture.logits[rows].float(),
            picture.valid[rows],
        )
    return ious


def _of_one_form(prompts: Prompts) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Yield rows, points and labels of prompts with as many columns as SAM gives them: what fills
    up is a token too, and one more of it would change the masks."""
    points, labels = prompts.points.cpu(), prompts.labels.cpu()
    columns = _real(labels).clamp(min=_FEWEST_POINTS)
    for width in columns.unique().tolist():
        rows = (columns == width).nonzero()[:, 0]
        yield rows, points[rows, :width], labels[rows, :width]


def _real(labels: Tensor) -> Tensor:
    """How many of each prompt's points say something: what fills up has negative labels."""
    return (labels > NOT_A_POINT).sum(dim=1)


def _ious(
    logits: Tensor, confidence: Tensor, is_point: Tensor, references: Tensor, valid: Tensor
) -> Tensor:
    """Logits (N, 4, …) and confidence (N, 4) of SAM's masks against references (N, M, h, w)."""
    logits = F.interpolate(logits, references.shape[-2:], mode="bilinear", align_corners=False)
    ambiguous = mask_iou(logits[:, 1:] > 0, references > 0) if references.shape[1] == 3 else None
    best = torch.where(is_point, confidence[:, 1:].argmax(dim=1) + 1, 0)
    answer = logits[torch.arange(len(logits)), best]
    single = mask_iou(answer > 0, references[:, 0] > 0)
    if ambiguous is None:
        return single
    return torch.where(valid.all(dim=1), ambiguous.mean(dim=1), single)
