"""The package of a vision-language model's eyes, tower and projector, and of a tower alone."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from zoo.export.examples import example_images
from zoo.export.part import Output, Part, picture_input, preprocessing_figures
from zoo.export.towers import VisionTokens
from zoo.models.fastvlm.vision_language_model import VisionLanguageModel
from zoo.models.fastvlm.vision_tower import VisionTower

VISION_PACKAGE = "vision_encoder.mlpackage"


def vision_language_parts(model: VisionLanguageModel) -> tuple[Part, ...]:
    """Return tower and projector of a model in eval mode as one part.

    The language model is to be a part of its own, which begins where this one ends.
    """
    card, tokens, size = model.card, model.tokens_per_view, model.preprocessing.image_size
    hidden, language = card.language.hidden_size, card.language.model_type
    output = Output(
        name="visual_tokens",
        description=f"{tokens} visual tokens of {hidden} numbers, row by row: what stands in the "
        "language model's input embeddings where the prompt says <image>.",
    )
    figures = {
        "visual_tokens": tokens,
        "hidden_size": hidden,
        "language_model": language,
    }
    summary = (
        f"Vision tower and projector of {card.name} at {size} pixels: {tokens} visual tokens for "
        f"its language model, a {language} of width {hidden}"
    )
    return (_vision_part(model, model.visual_tokens, summary, output, figures),)


def vision_tower_parts(model: VisionTower) -> tuple[Part, ...]:
    """Return a tower alone, in eval mode; its CLIP head stays behind."""
    card, size = model.card, model.preprocessing.image_size
    tokens = math.ceil(size / card.stride) ** 2
    output = Output(
        name="image_features",
        description=f"{tokens} features of {card.feature_dim} numbers, row by row, before any "
        "pooling or projection.",
    )
    figures = {"visual_tokens": tokens, "feature_dim": card.feature_dim}
    summary = f"Vision tower {card.name} at {size} pixels: {tokens} tokens"
    return (_vision_part(model, model.forward_features, summary, output, figures),)


def without_language_model(model: VisionLanguageModel) -> VisionLanguageModel:
    """Return a model of the same tower and projector, not copied, and no words."""
    return VisionLanguageModel(
        model.card,
        model.image_encoder,
        model.projector,
        nn.Identity(),
        model.views,
        tokenizer=None,
        multi_scale=model.multi_scale,
    )


def _vision_part(
    model: VisionLanguageModel | VisionTower,
    tokens_of: Callable[[Tensor], Tensor],
    summary: str,
    output: Output,
    figures: dict[str, Any],
) -> Part:
    preprocessing = model.preprocessing

    def reference(pixels: Tensor) -> Tensor:
        return tokens_of(preprocessing.normalize(pixels / 255))

    return Part(
        name="vision",
        package=VISION_PACKAGE,
        summary=summary,
        module=VisionTokens(model.reparameterize()),
        inputs=(picture_input(preprocessing),),
        outputs=(output,),
        reference=reference,
        examples=[(image,) for image in example_images(preprocessing.image_size)],
        figures={
            "model": model.card.name,
            **preprocessing_figures(preprocessing),
            "stride": model.card.stride,
            **figures,
        },
    )
