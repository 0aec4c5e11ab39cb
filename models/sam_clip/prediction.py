"""One look at a picture, and the masks that prompts find in it.

Shape suffixes: N prompts, M masks of a prompt, h and w the grid of tokens, H and W the picture.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from zoo.models.card import SamClipCard
from zoo.models.preprocess import ImageSource, Preprocessing
from zoo.models.sam_clip.frame import Frame, open_picture
from zoo.models.sam_clip.prompt_encoder import MASK_PROMPT_SCALE
from zoo.models.sam_clip.prompts import Numbers, Prompts, read_prompts

THE_MASK, THREE_MASKS = slice(0, 1), slice(1, None)
"""Of the decoder's masks, those for prompts that say enough and for a point that may not."""
_PROMPTS_AT_ONCE = 32
"""In one pass of the decoder: about 40 MB of activations each at 1024 pixels."""


class MaskModel(Protocol):
    """What `look` and `predict_masks` ask of a `SamClipModel`, which has them as methods."""

    card: SamClipCard

    @property
    def preprocessing(self) -> Preprocessing: ...

    @property
    def logit_scale(self) -> Tensor: ...

    def tokens(self, image: Tensor) -> Tensor: ...

    def mask_embedding(self, tokens: Tensor) -> Tensor: ...

    def decode_masks(self, embedding: Tensor, prompts: Prompts) -> tuple[Tensor, Tensor]: ...


@dataclass(frozen=True, kw_only=True)
class Look:
    """What one pass of the tower saw of a picture: words and prompts read it without another."""

    frame: Frame
    tokens: Tensor
    """(1, h, w, width): what the CLIP head reads."""
    embedding: Tensor
    """(1, decoder width, h, w): what the mask decoder reads."""

    @property
    def mask_size(self) -> tuple[int, int]:
        """Rows and columns, 4h and 4w, of the decoder's masks and of mask prompts."""
        height, width = self.tokens.shape[1:3]
        return MASK_PROMPT_SCALE * height, MASK_PROMPT_SCALE * width


class MaskPrediction(NamedTuple):
    """Masks of one picture."""

    masks: Tensor
    """bool (N, M, H, W), of the picture's own size."""
    scores: Tensor
    """float32 (N, M): the IoU that the model expects each mask to have."""
    logits: Tensor
    """float32 (N, M, 4h, 4w), over SAM's square: a mask prompt for a next prediction."""


@torch.no_grad()
def look(model: MaskModel, image: ImageSource) -> Look:
    """Return what the tower sees of a picture at the card's `mask_image_size`.

    Raises ValueError for what is not a picture and FileNotFoundError for a missing file.
    """
    picture = open_picture(image)
    frame = Frame.around(picture, model.card.mask_image_size)
    tokens = model.tokens(as_input(model, frame.square(picture, model.preprocessing)))
    return Look(frame=frame, tokens=tokens, embedding=model.mask_embedding(tokens))


@torch.no_grad()
def predict_masks(
    model: MaskModel,
    image: ImageSource | Look,
    *,
    points: Numbers | None = None,
    point_labels: Numbers | None = None,
    boxes: Numbers | None = None,
    mask: Numbers | None = None,
    multimask: bool | None = None,
) -> MaskPrediction:
    """See `SamClipModel.predict_masks`."""
    seen = image if isinstance(image, Look) else look(model, image)
    prompts = read_prompts(
        seen.frame,
        seen.mask_size,
        points=points,
        point_labels=point_labels,
        boxes=boxes,
        mask=mask,
    )
    several = prompts.ambiguous if multimask is None else multimask
    parts = [
        (_binary(seen.frame, logits), scores, logits)
        for logits, scores in answers(model, seen, prompts, THREE_MASKS if several else THE_MASK)
    ]
    masks, scores, logits = (torch.cat(part) for part in zip(*parts, strict=True))
    return MaskPrediction(masks, scores, logits)


def answers(
    model: MaskModel, seen: Look, prompts: Prompts, chosen: slice
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield logits (n, M, 4h, 4w) and scores (n, M), float32, of some prompts after the others."""
    device, dtype = seen.embedding.device, seen.embedding.dtype
    for start in range(0, len(prompts.points), _PROMPTS_AT_ONCE):
        rows = slice(start, start + _PROMPTS_AT_ONCE)
        some = Prompts(
            prompts.points[rows].to(device),
            prompts.labels[rows].to(device),
            None if prompts.masks is None else prompts.masks[rows].to(device, dtype),
        )
        logits, scores = model.decode_masks(seen.embedding, some)
        yield logits[:, chosen].float(), scores[:, chosen].float()


def as_input(model: MaskModel, square: Tensor) -> Tensor:
    """Return a normalised picture (3, S, S) as a batch where and as the model computes."""
    weight = model.logit_scale
    return square[None].to(weight.device, weight.dtype)


def _binary(frame: Frame, logits: Tensor) -> Tensor:
    masks = frame.to_picture(logits.flatten(0, 1)) > 0
    return masks.unflatten(0, logits.shape[:2])
