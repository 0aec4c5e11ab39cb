"""The packages of SAM-CLIP: picture, prompts and texts."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from zoo.export.examples import example_images
from zoo.export.image_text_parts import (
    IMAGE_PACKAGE,
    features_output,
    image_text_figures,
    text_part,
)
from zoo.export.part import ArrayInput, Output, Part, PictureInput
from zoo.export.sam_clip_modules import OnePass, PromptedMasks, grid_of
from zoo.models.sam_clip.assemble import Absent
from zoo.models.sam_clip.prompt_encoder import (
    ABSENT,
    BACKGROUND,
    BOTTOM_RIGHT,
    FOREGROUND,
    MASK_PROMPT_SCALE,
    NOT_A_POINT,
    TOP_LEFT,
)
from zoo.models.sam_clip.prompts import Prompts
from zoo.models.sam_clip.sam_clip_model import SamClipModel

MASK_PACKAGE = "mask_decoder.mlpackage"
POINTS = 8
"""Of a prompt, the corners of its box included; fewer are filled up with ABSENT."""
_POINT = (FOREGROUND, NOT_A_POINT)
_BOX = (TOP_LEFT, BOTTOM_RIGHT)
_EXAMPLE_LABELS = (_POINT, _BOX, (*[FOREGROUND, BACKGROUND] * ((POINTS - len(_BOX)) // 2), *_BOX))
"""A point, a box, and all that one prompt holds; the last comes with a mask."""


def sam_clip_parts(model: SamClipModel) -> tuple[Part, ...]:
    """Return picture, prompts and texts of a model in eval mode, at the size of its preprocessing.

    Without a text tower there are the first two. Raises ValueError without a CLIP head, and for a
    size that the stride does not divide.
    """
    if isinstance(model.clip_head, Absent):
        raise ValueError(model.clip_head.reason)
    size, stride = model.preprocessing.image_size, model.card.stride
    if size % stride:
        raise ValueError(
            f"Pictures of {size} pixels do not divide into the squares of {stride} that "
            f"{model.card.name} reads; give an image_size that is a multiple of {stride}."
        )
    parts = _image_part(model), _mask_part(model)
    if isinstance(model.text_encoder, Absent):
        return parts
    return *parts, text_part(model, model.reparameterize())


def _image_part(model: SamClipModel) -> Part:
    def reference(pixels: Tensor) -> tuple[Tensor, ...]:
        tokens = model.tokens(model.preprocessing.normalize(pixels / 255))
        features = (model.clip_head(tokens), model.clip_head.patches(tokens).flatten(1, 2))
        return (*(F.normalize(one, dim=-1) for one in features), model.mask_embedding(tokens))

    size = model.preprocessing.image_size
    return Part(
        name="image",
        package=IMAGE_PACKAGE,
        summary=f"One pass of {model.card.name} at {size} pixels, for texts and for masks",
        module=OnePass(model),
        inputs=(_square(model),),
        outputs=(features_output("image_features", model), *_dense_outputs(model)),
        reference=reference,
        examples=[(image,) for image in example_images(size)],
        figures=_figures(model),
    )


def _square(model: SamClipModel) -> PictureInput:
    size = model.preprocessing.image_size
    colour = tuple(round(255 * value) for value in model.preprocessing.mean)
    return PictureInput(
        name="image",
        description=f"RGB picture, longer side resized to {size} pixels, filled up on the right "
        f"and below with RGB {colour} to {size}x{size}; for its features alone, a square of it. "
        "Values are scaled and normalised inside.",
        size=size,
    )


def _dense_outputs(model: SamClipModel) -> tuple[Output, Output]:
    grid = grid_of(model)
    return (
        Output(
            name="patch_features",
            description=f"Features of unit length of {grid}x{grid} patches, row by row: their dot "
            "product with text features says what is where.",
        ),
        Output(name="mask_embedding", description=f"What {MASK_PACKAGE} takes."),
    )


def _mask_part(model: SamClipModel) -> Part:
    def reference(
        embedding: Tensor, points: Tensor, labels: Tensor, mask: Tensor, has_mask: Tensor
    ) -> tuple[Tensor, Tensor]:
        there = labels[0] != ABSENT
        masks = mask if has_mask.item() else None
        return model.decode_masks(
            embedding, Prompts(points[:, there], labels[:, there].long(), masks)
        )

    return Part(
        name="masks",
        package=MASK_PACKAGE,
        summary=f"Prompt encoder and mask decoder of {model.card.name}",
        module=PromptedMasks(model),
        inputs=_prompt_inputs(model),
        outputs=_mask_outputs(model),
        reference=reference,
        examples=_example_prompts(model),
        figures={**_figures(model), "points": POINTS, "mask_threshold": 0.0},
        exact="pe_layer",  # half precision would move a point by a pixel of 2048 and more
    )


def _prompt_inputs(model: SamClipModel) -> tuple[ArrayInput, ...]:
    grid, width = grid_of(model), model.card.decoder.width
    side = MASK_PROMPT_SCALE * grid
    labels = (
        f"{FOREGROUND} inside of the object, {BACKGROUND} outside, {TOP_LEFT} and {BOTTOM_RIGHT} "
        f"corners of a box around it; {NOT_A_POINT} once behind points without a box, as SAM was "
        f"trained; {ABSENT} for the places left over."
    )
    return (
        _floats("mask_embedding", f"Of {IMAGE_PACKAGE}.", (1, width, grid, grid)),
        _floats(
            "points",
            "x and y of points and of a box's corners: (pixel + 0.5) / side of the filled square.",
            (1, POINTS, 2),
        ),
        ArrayInput(name="point_labels", description=labels, shape=(1, POINTS), dtype="int32"),
        _floats("mask_input", "Logits of an earlier answer, or zeros.", (1, 1, side, side)),
        _floats("has_mask_input", "1 where the mask input counts, else 0.", (1,)),
    )


def _floats(name: str, description: str, shape: tuple[int, ...]) -> ArrayInput:
    return ArrayInput(name=name, description=description, shape=shape, dtype="float32")


def _mask_outputs(model: SamClipModel) -> tuple[Output, Output]:
    side = MASK_PROMPT_SCALE * grid_of(model)
    return (
        Output(
            name="masks",
            description=f"Logits of four masks of {side}x{side} over the filled square, positive "
            "inside: the first answers a box or several points, the others a single point.",
        ),
        Output(name="iou_predictions", description="How well each mask fits, about 0…1."),
    )


def _example_prompts(model: SamClipModel) -> list[tuple[Tensor, ...]]:
    """Inputs of the mask decoder. The embedding is noise that went through the neck's last norm, as
    every embedding has; a pass of the tower takes a minute at 1024 pixels."""
    generator = torch.Generator().manual_seed(0)
    grid, width = grid_of(model), model.card.decoder.width
    last_norm: Any = list(model.image_encoder.get_submodule("neck").children())[-1]
    examples = []
    for number, labels in enumerate(_EXAMPLE_LABELS):
        noise = torch.randn(2, width + 1, 5, 5, generator=generator)
        smooth = F.interpolate(noise, size=(grid, grid), mode="bilinear")[:1, :width]
        mask = F.interpolate(
            10 * noise[:1, width:], size=(MASK_PROMPT_SCALE * grid,) * 2, mode="bilinear"
        )
        has_mask = torch.tensor([float(number == len(_EXAMPLE_LABELS) - 1)])
        filled = [*labels, *[ABSENT] * (POINTS - len(labels))]
        points = torch.rand(1, POINTS, 2, generator=generator)
        with torch.no_grad():
            embedding = last_norm(smooth)
        kinds = torch.tensor([filled], dtype=torch.int32)
        examples.append((embedding, points, kinds, mask * has_mask, has_mask))
    return examples


def _figures(model: SamClipModel) -> dict[str, Any]:
    return {
        **image_text_figures(model),
        "stride": model.card.stride,
        "padding": "right and below, with the mean colour",
    }
