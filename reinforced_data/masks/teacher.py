"""Who says what the mask of a prompt is: a frozen SAM, or the instance masks themselves."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal, NamedTuple, Protocol

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from zoo.models.card import SamClipCard
from zoo.models.registry import get_card_of
from zoo.models.sam_clip.frame import Frame
from zoo.models.sam_clip.load import load_sam_clip
from zoo.models.sam_clip.prompt_encoder import MASK_PROMPT_SCALE
from zoo.models.sam_clip.sam_clip_model import Prompts, SamClipModel
from zoo.reinforced_data.engine.fingerprint import fingerprint
from zoo.reinforced_data.engine.frozen import frozen
from zoo.reinforced_data.masks.codec import SATURATION
from zoo.reinforced_data.masks.prompts import POINT, TOKENS, PromptRows

TeacherKind = Literal["sam", "truth"]

_SPEC = re.compile(r"(?P<kind>sam|truth):(?P<model>[^@]+)(?:@(?P<weights>.+))?")
_PROMPTS_AT_ONCE = 64
"""As SAM's own mask generator decodes (`points_per_batch`)."""


@dataclass(frozen=True, kw_only=True)
class MaskTeacherInfo:
    """What a mask sidecar says about its teacher."""

    kind: TeacherKind
    model: str
    """Whose geometry it has."""
    pretrained: str
    """Which weights; empty for the truth."""
    image_size: int
    """Longer side of the pictures that it looks at, in pixels."""
    mask_size: int
    """Side of its masks, in pixels."""

    def __str__(self) -> str:
        name = f"{self.model} ({self.pretrained})" if self.pretrained else self.model
        return f"{self.kind}:{name} of {self.image_size} pixels"


class Answer(NamedTuple):
    """What a teacher says to one prompt."""

    logits: np.ndarray
    """float32 (m, h, w) over the square: the three masks that a single point may mean, or one."""
    iou: np.ndarray
    """float32 (m,): how well each covers the object; predicted by a SAM, 1 of the truth."""


class MaskTeacher(Protocol):
    """Whatever answers prompts about pictures."""

    info: MaskTeacherInfo

    def answer(
        self, image: Image.Image, prompts: PromptRows, masks: Mapping[int, np.ndarray]
    ) -> list[Answer]:
        """Return an answer to each of the prompts about an RGB picture.

        `masks` are the instances that they ask for: bool (H, W).
        """
        ...


class SamTeacher:
    """A frozen SAM (the very model given).

    It is asked as at inference, each kind of prompt with its own number of tokens: a single point
    is answered by the three masks of an ambiguous prompt, all else by the one of the others.
    """

    def __init__(self, model: SamClipModel, *, pretrained: str) -> None:
        """`pretrained` says which weights these are; it goes into the sidecar."""
        self.model = frozen(model)
        self.info = _info("sam", model.card, pretrained)

    @torch.inference_mode()
    def answer(
        self, image: Image.Image, prompts: PromptRows, masks: Mapping[int, np.ndarray]
    ) -> list[Answer]:
        frame = Frame.around(image, self.info.image_size)
        square = frame.square(image, self.model.preprocessing)[None].to(self._parameter)
        embedding = self.model.mask_embedding(self.model.tokens(square))
        answers: dict[int, Answer] = {}
        for kind in TOKENS:
            rows = np.flatnonzero(prompts.kinds == kind)
            for start in range(0, len(rows), _PROMPTS_AT_ONCE):
                some = rows[start : start + _PROMPTS_AT_ONCE]
                answers |= zip(some.tolist(), self._decode(embedding, prompts, some), strict=True)
        return [answers[row] for row in range(len(prompts.kinds))]

    def _decode(self, embedding: Tensor, prompts: PromptRows, rows: np.ndarray) -> list[Answer]:
        """Answer the prompts `rows`, all of one kind."""
        kind = int(prompts.kinds[rows[0]])
        asked = Prompts(
            torch.from_numpy(prompts.points[rows, : TOKENS[kind]]).to(embedding),
            torch.from_numpy(prompts.labels[rows, : TOKENS[kind]]).to(embedding.device).long(),
        )
        logits, iou = self.model.decode_masks(embedding, asked)
        told = slice(1, None) if kind == POINT else slice(1)
        return [
            Answer(mask, score)
            for mask, score in zip(
                logits[:, told].float().cpu().numpy(),
                iou[:, told].float().cpu().numpy(),
                strict=True,
            )
        ]

    @property
    def _parameter(self) -> Tensor:
        return next(self.model.parameters())


class TruthTeacher:
    """The instance masks themselves, as a SAM of some geometry would put them out if it knew them.

    A pixel's logit is that of the share of it that the instance covers.
    """

    def __init__(self, card: SamClipCard) -> None:
        """`card`: the model that is to learn from it."""
        self.info = _info("truth", card, "")

    def answer(
        self, image: Image.Image, prompts: PromptRows, masks: Mapping[int, np.ndarray]
    ) -> list[Answer]:
        frame = Frame.around(image, self.info.image_size)
        known = {i: mask_logits(mask, frame, self.info.mask_size) for i, mask in masks.items()}
        one = np.ones(1, np.float32)
        return [Answer(known[i][None], one) for i in prompts.instances.tolist()]


def load_mask_teacher(spec: str, *, device: str | torch.device | None = "auto") -> MaskTeacher:
    """Load the teacher that `sam:MODEL@WEIGHTS` or `truth:MODEL` names.

    Raises ValueError, showing the grammar, for another text, and what `load_model` raises.
    """
    match = _SPEC.fullmatch(spec)
    if match is None or (match["kind"] == "sam") != (match["weights"] is not None):
        raise ValueError(
            f"The mask teacher {spec!r} is not understood; write sam:MODEL@WEIGHTS for a SAM, for "
            "example sam:sam-clip-vit-b@sam_vit_b_01ec64.pth, or truth:MODEL for the shards' own "
            "instance masks at that model's resolution."
        )
    if match["weights"] is None:
        return TruthTeacher(get_card_of(SamClipCard, match["model"]))
    weights = Path(match["weights"]).expanduser()
    model = load_sam_clip(match["model"], weights=weights, device=device)
    return SamTeacher(model, pretrained=fingerprint(weights))


def mask_logits(mask: np.ndarray, frame: Frame, side: int) -> np.ndarray:
    """Return an instance mask bool (H, W) as saturated logits float32 (side, side) over the square.

    The logit of the share of each pixel that the mask covers; padding is not covered.
    """
    width, height = frame.inner
    rows = _overlaps(frame.height, height / frame.side, side)
    columns = _overlaps(frame.width, width / frame.side, side)
    share = (rows @ mask.astype(np.float32) @ columns.T).clip(0, 1)
    with np.errstate(divide="ignore"):
        logits = np.log(share) - np.log1p(-share)
    return logits.clip(-SATURATION, SATURATION)


@lru_cache(maxsize=8)
def _overlaps(pixels: int, extent: float, side: int) -> np.ndarray:
    """How much of each of `side` cells every pixel covers, of `pixels` that fill the first `extent`
    of the line: float32 (side, pixels)."""
    edges = np.arange(pixels + 1) * (extent * side / pixels)
    cells = np.arange(side)[:, None]
    reached = np.minimum(edges[1:], cells + 1) - np.maximum(edges[:-1], cells)
    return reached.clip(0).astype(np.float32)


def _info(kind: TeacherKind, card: SamClipCard, pretrained: str) -> MaskTeacherInfo:
    return MaskTeacherInfo(
        kind=kind,
        model=card.name,
        pretrained=pretrained,
        image_size=card.mask_image_size,
        mask_size=card.mask_image_size // card.stride * MASK_PROMPT_SCALE,
    )
