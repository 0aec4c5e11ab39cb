"""A SAM-CLIP whose weights make a patch the word of its colour; its prompts and masks are random.

Used by .venv/bin/pytest tests/models/sam_clip tests/zoo/test_segment_command.py
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn

from zoo.models.card import SamClipCard
from zoo.models.class_names import average_templates, class_prompts
from zoo.models.registry import get_card_of
from zoo.models.sam_clip.build import build_sam_clip
from zoo.models.sam_clip.sam_clip_model import SamClipModel

COLOURS = ("red", "green", "blue")
_FAR = 20.0
"""Where GELU is the identity."""


@torch.no_grad()
def colour_segmenter(template: str = "a photo of a {}.") -> SamClipModel:
    """Return a `sam-clip-tiny` that knows COLOURS, and IoUs that are all 1.

    Blocks pass tokens on; a token is the mean colour of its patch, in three of its channels. The
    CLIP head takes each channel to what has a cosine with that colour's word alone.
    """
    torch.manual_seed(0)
    model = build_sam_clip(get_card_of(SamClipCard, "sam-clip-tiny")).eval()
    tower: Any = model.image_encoder
    for block in [*tower.blocks, *model.clip_head.blocks]:
        for last in (block.attn.proj, block.mlp.fc2):
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)
    projection = tower.patch_embed.proj
    nn.init.zeros_(projection.bias)
    nn.init.zeros_(projection.weight)
    for channel in range(3):
        projection.weight[channel, channel] = 1 / projection.weight[0, 0].numel()
    words = model.encode_text(model.tokenize(class_prompts(COLOURS, [template])))
    _pass_on(model.clip_head.mlp, average_templates(words, len(COLOURS)))
    head = model.mask_decoder.iou_prediction_head.layers[-1]
    assert isinstance(head, nn.Linear)
    nn.init.zeros_(head.weight)
    nn.init.ones_(head.bias)
    model.logit_scale.fill_(3.0)
    return model


def _pass_on(mlp: nn.Sequential, words: torch.Tensor) -> None:
    first, second, last = mlp[0], mlp[2], mlp[4]
    assert isinstance(first, nn.Linear) and isinstance(second, nn.Linear)
    assert isinstance(last, nn.Linear)
    for layer in (first, second):
        nn.init.eye_(layer.weight)
    nn.init.constant_(first.bias, _FAR)
    nn.init.zeros_(second.bias)
    nn.init.zeros_(last.weight)
    last.weight[:, : len(words)] = torch.linalg.pinv(words)
    last.bias.copy_(-_FAR * last.weight.sum(dim=1))


def stripes(*colours: str, width: int = 160, height: int = 80) -> Image.Image:
    """A picture of upright stripes of the same width."""
    pixels = np.zeros((height, width, 3), np.uint8)
    for number, colour in enumerate(colours):
        left = number * width // len(colours)
        pixels[:, left:, :] = 0
        pixels[:, left:, COLOURS.index(colour)] = 255
    return Image.fromarray(pixels)
