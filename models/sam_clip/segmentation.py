"""Words for pixels: semantic segmentation by the CLIP head, refined by SAM's decoder if asked.

Source: SAM-CLIP (arXiv 2310.15308), section 4.3 and 4.4 and the appendix.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from zoo.models.class_names import average_templates, class_prompts
from zoo.models.image_text_model import MAX_LOGIT_SCALE
from zoo.models.preprocess import ImageSource
from zoo.models.sam_clip.class_maps import classes_of, with_background
from zoo.models.sam_clip.clip_head import ClipHead
from zoo.models.sam_clip.frame import enlarged, open_picture, picture_size, squashed
from zoo.models.sam_clip.prediction import Look, MaskModel, as_input, look
from zoo.models.sam_clip.refinement import refined_by_points, refined_by_regions

Refine = bool | Literal["regions"]
"""Whether and how SAM's decoder draws the classes again."""
_TEXTS_AT_ONCE = 256


class WordModel(MaskModel, Protocol):
    """What `segment` asks of a `SamClipModel` besides, which has it as a method."""

    clip_head: ClipHead

    def dense_features(self, image: Tensor) -> Tensor: ...

    def tokenize(self, texts: Sequence[str]) -> Tensor: ...

    def encode_text(self, text: Tensor) -> Tensor: ...


class Segmentation(NamedTuple):
    """Classes of a picture's pixels."""

    classes: Tensor
    """int64 (H, W): index of a label, or -1 for the background where it was asked for."""
    logits: Tensor
    """float32 (C, H, W). The CLIP head's: cosine × logit scale. Refined: SAM's, above 0 inside of
    the class, -inf for a class that no pixel had."""
    scores: Tensor
    """float32 (C,): the greatest probability, over the patches of the picture, that the CLIP head
    gives the class among the labels. Refinement leaves it: SAM knows no classes."""


@torch.no_grad()
def segment(
    model: WordModel,
    image: ImageSource | Look,
    labels: Sequence[str],
    *,
    refine: Refine,
    templates: Sequence[str],
    background: float | None,
) -> Segmentation:
    """See `SamClipModel.segment`."""
    _check(labels, refine, background)
    classifier = _text_classifier(model, labels, templates)
    return segment_by(model, image, classifier, refine=refine, background=background)


@torch.no_grad()
def segment_by(
    model: WordModel,
    image: ImageSource | Look,
    classifier: Tensor,
    *,
    refine: Refine,
    background: float | None,
) -> Segmentation:
    """As `SamClipModel.segment`, for many pictures: by the text features of the classes, float32
    (C, D) of length 1 on the model's device."""
    if refine is False and not isinstance(image, Look):
        return _squashed(model, image, classifier, background)
    seen = image if isinstance(image, Look) else look(model, image)
    height, width = seen.frame.covered(*seen.tokens.shape[1:3])
    features = model.clip_head.patches(seen.tokens, shown=(height, width))
    coarse = class_logits(model, features, classifier)
    scores = _scores(coarse[:, :height, :width])
    if refine is False:
        maps = seen.frame.to_picture(coarse)
        return Segmentation(_classes(maps, background), maps, scores)
    redraw = refined_by_regions if refine == "regions" else refined_by_points
    maps = _present_to_picture(seen, redraw(model, seen, coarse, background))
    return Segmentation(_refined_classes(maps, background), maps, scores)


def class_logits(model: WordModel, features: Tensor, classifier: Tensor) -> Tensor:
    """Return cosine × logit scale, float32 (C, h, w), of patch features (1, h, w, D) and the text
    features (C, D) of the classes."""
    scale = model.logit_scale.exp().clamp(max=MAX_LOGIT_SCALE).float()
    cosines = F.normalize(features[0].float(), dim=-1) @ classifier.T
    return (scale * cosines).permute(2, 0, 1)


def _squashed(
    model: WordModel, image: ImageSource, classifier: Tensor, background: float | None
) -> Segmentation:
    """The CLIP head alone, on a square that is the picture out of proportion.

    Logits are enlarged, not classes: the paper's body says so, and its appendix otherwise.
    """
    picture = open_picture(image)
    square = squashed(picture, model.card.segmentation_image_size, model.preprocessing)
    coarse = class_logits(model, model.dense_features(as_input(model, square)), classifier)
    width, height = picture_size(picture)
    maps = enlarged(coarse[None], height, width)[0]
    return Segmentation(_classes(maps, background), maps, _scores(coarse))


def _text_classifier(model: WordModel, labels: Sequence[str], templates: Sequence[str]) -> Tensor:
    """float32 (C, D), rows of length 1: the mean over the templates."""
    tokens = model.tokenize(class_prompts(labels, templates)).to(model.logit_scale.device)
    features = [model.encode_text(some) for some in tokens.split(_TEXTS_AT_ONCE)]
    return average_templates(torch.cat(features).float(), len(labels))


def _scores(coarse: Tensor) -> Tensor:
    return coarse.softmax(dim=0).amax(dim=(1, 2))


def _classes(maps: Tensor, background: float | None) -> Tensor:
    return classes_of(with_background(maps, background), len(maps))


def _refined_classes(maps: Tensor, background: float | None) -> Tensor:
    """Where background is asked for it is what lies in no class's mask, whose logits end at 0."""
    rows = maps if background is None else torch.cat([maps, torch.zeros_like(maps[:1])])
    return classes_of(rows, len(maps))


def _present_to_picture(seen: Look, maps: Tensor) -> Tensor:
    """Maps (C, 4h, 4w) over the picture; absent ones stay -inf, which interpolation would not."""
    large = maps.new_full((len(maps), seen.frame.height, seen.frame.width), -torch.inf)
    present = (maps > -torch.inf).flatten(1).any(dim=1)
    if present.any():
        large[present] = seen.frame.to_picture(maps[present])
    return large


def _check(labels: Sequence[str], refine: Refine, background: float | None) -> None:
    if isinstance(labels, str):
        raise ValueError(f"The labels are the one text {labels!r}; give a list of names.")
    if refine not in (False, True, "regions"):
        raise ValueError(f"refine is {refine!r}; give False, True (points) or 'regions'.")
    if background is None:
        return
    if not 0 < background < 1:
        raise ValueError(
            f"background={background:g} is no probability between 0 and 1; give the one below "
            "which a pixel belongs to none of the labels, or None."
        )
    if len(labels) < 2:
        raise ValueError(
            "A background among one label has no meaning, since its probability is 1 everywhere; "
            "give labels of what else may be seen, or leave the background out."
        )
