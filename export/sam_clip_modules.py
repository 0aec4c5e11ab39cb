"""SAM-CLIP as an app uses it: one pass over a picture, then as many prompts as it likes.

Shape suffixes: S side in pixels, h and w the grid of tokens, W width, P points.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.export.towers import at_pixel_scale, take_pixel_scale, unit_length
from zoo.models.sam_clip.prompt_encoder import ABSENT
from zoo.models.sam_clip.sam_clip_model import SamClipModel
from zoo.models.sam_clip.vision import image_tokens


class OnePass(nn.Module):
    """Pixels 0…255 times PIXEL_SCALE (1, 3, S, S) → image features (1, D) and patch features
    (1, h·w, D), both of unit length, and the mask embedding (1, W, h, w)."""

    def __init__(self, model: SamClipModel) -> None:
        super().__init__()
        self.preprocessing = at_pixel_scale(model.preprocessing)
        self.image_encoder: Any = copy.deepcopy(model.image_encoder)
        self.clip_head = copy.deepcopy(model.clip_head)
        take_pixel_scale(self.image_encoder)
        _fix_positions(self.image_encoder, self.clip_head.blocks, grid_of(model))

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        tokens = image_tokens(self.image_encoder, self.preprocessing.normalize(image))
        read = self.clip_head.blocks(tokens)
        pooled = self.clip_head.project(read.amax(dim=(1, 2)))
        around = self.clip_head.neighbourhoods(read, shorter_side=min(read.shape[1:3]))
        patches = [unit_length(self.clip_head.project(one.flatten(1, 2))) for one in around]
        embedding = self.image_encoder.neck(tokens.permute(0, 3, 1, 2))
        return unit_length(pooled), unit_length(torch.stack(patches).mean(dim=0)), embedding


class PromptedMasks(nn.Module):
    """A mask embedding (1, W, h, w) and a prompt → masks (1, 4, 4h, 4w), logits, and their
    predicted IoU (1, 4).

    The prompt: points (1, P, 2), labels int32 (1, P), logits of a mask (1, 1, 4h, 4w), and 1 or 0
    for whether the mask counts (1,).
    """

    positions: Tensor

    def __init__(self, model: SamClipModel) -> None:
        super().__init__()
        self.prompt_encoder = model.prompt_encoder
        self.mask_decoder = model.mask_decoder
        grid = grid_of(model)
        self.register_buffer("positions", model.prompt_encoder.grid_positions(grid, grid).detach())

    def forward(
        self, embedding: Tensor, points: Tensor, labels: Tensor, mask: Tensor, has_mask: Tensor
    ) -> tuple[Tensor, Tensor]:
        # Not `without + has_mask * (masks - without)`: where coremltools folds that difference into
        # the convolution before it, it negates the constant in place, for the sum as well.
        without = (1 - has_mask) * self.prompt_encoder.without_mask()
        dense = has_mask * self.prompt_encoder.masks(mask) + without
        tokens = self.prompt_encoder(points, labels)
        return self.mask_decoder(embedding + dense, self.positions, tokens, labels != ABSENT)


def grid_of(model: SamClipModel) -> int:
    """Return the tokens on a side of the pictures that `model` is exported for."""
    return model.preprocessing.image_size // model.card.stride


def _fix_positions(encoder: Any, head_blocks: nn.Sequential, grid: int) -> None:
    """Interpolate all positions to `grid` tokens a side, in place, as the model does at every call;
    a package has one size."""
    from timm.layers.pos_embed import resample_abs_pos_embed_nhwc

    with torch.no_grad():
        positions = resample_abs_pos_embed_nhwc(encoder.pos_embed, [grid, grid])
        encoder.pos_embed = nn.Parameter(positions)
        for block in (*encoder.blocks, *head_blocks):
            attention: Any = block.attn
            if block.window_size or not attention.use_rel_pos:
                continue
            attention.rel_pos_h = nn.Parameter(_resized(attention.rel_pos_h, 2 * grid - 1))
            attention.rel_pos_w = nn.Parameter(_resized(attention.rel_pos_w, 2 * grid - 1))


def _resized(table: Tensor, rows: int) -> Tensor:
    """A table (rows, D) of relative positions, interpolated between its rows."""
    return F.interpolate(table.T[None], size=rows, mode="linear")[0].T.contiguous()
