"""SAM's prompt encoder: points, boxes and masks become tokens.

Shape suffixes: N prompts, P points of a prompt, W width, h and w the image embedding's grid.
Source: Segment Anything (arXiv 2304.02643), appendix A; `prompt_encoder.py` of segment-anything.
The parameters have the original's names.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from zoo.models.card import MaskDecoderConfig
from zoo.models.sam_clip.layers import LayerNorm2d

NOT_A_POINT = -1
"""Label of a point that only fills up: SAM adds one to points that come without a box."""
ABSENT = -2
"""Label of a place without a point: nothing reads its token. So prompts of unlike numbers of points
share a batch, and a program of fixed shapes, and each has the masks that it has alone."""
BACKGROUND, FOREGROUND, TOP_LEFT, BOTTOM_RIGHT = 0, 1, 2, 3
"""Labels of points: outside and inside of the object, and the two corners of a box around it."""
MASK_PROMPT_SCALE = 4
"""Pixels of a mask prompt on a side for each token of the image embedding."""


class PromptEncoder(nn.Module):
    """Points (N, P, 2) and labels (N, P) → tokens (N, P, W); masks (N, 1, 4h, 4w) → (N, W, h, w).

    Coordinates are x and y as fractions of the square that the tower sees, 0…1.
    """

    def __init__(self, config: MaskDecoderConfig) -> None:
        super().__init__()
        width, channels = config.width, config.mask_channels
        self.pe_layer = RandomPositions(width)
        self.point_embeddings = nn.ModuleList(nn.Embedding(1, width) for _ in range(4))
        self.not_a_point_embed = nn.Embedding(1, width)
        self.mask_downscaling = nn.Sequential(
            nn.Conv2d(1, channels // 4, 2, stride=2),
            LayerNorm2d(channels // 4),
            nn.GELU(),
            nn.Conv2d(channels // 4, channels, 2, stride=2),
            LayerNorm2d(channels),
            nn.GELU(),
            nn.Conv2d(channels, width, 1),
        )
        self.no_mask_embed = nn.Embedding(1, width)

    def forward(self, points: Tensor, labels: Tensor) -> Tensor:
        """Return the tokens of points and corners; labels are the constants of this module."""
        not_a_point = self.not_a_point_embed.weight
        absent = torch.zeros_like(not_a_point)
        kinds = torch.cat([absent, not_a_point, *self.point_embeddings.parameters()])
        positions = self.pe_layer(points) * (labels > NOT_A_POINT)[..., None]
        return positions + kinds[labels - ABSENT]

    def masks(self, masks: Tensor) -> Tensor:
        """Return what is added to the image embedding for mask prompts, logits (N, 1, 4h, 4w)."""
        return self.mask_downscaling(masks)

    def without_mask(self) -> Tensor:
        """Return what is added where there is no mask prompt: (1, W, 1, 1)."""
        return self.no_mask_embed.weight[:, :, None, None]

    def grid_positions(self, height: int, width: int) -> Tensor:
        """Return the positions (1, W, height, width) of the image embedding's tokens."""
        device = self.no_mask_embed.weight.device
        y = (torch.arange(height, device=device) + 0.5) / height
        x = (torch.arange(width, device=device) + 0.5) / width
        grid = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)  # (height, width, 2)
        return self.pe_layer(grid).permute(2, 0, 1)[None]


class RandomPositions(nn.Module):
    """Coordinates (…, 2) in 0…1 → sines and cosines (…, W) of random directions.

    Computed in float32 under autocast and in models of half precision, too: bfloat16 would move a
    point by up to two pixels of 1024. It has no matrix product, which autocast would take down.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("positional_encoding_gaussian_matrix", torch.randn(2, width // 2))

    def forward(self, coordinates: Tensor) -> Tensor:
        matrix = self.get_buffer("positional_encoding_gaussian_matrix")
        x, y = (2 * coordinates.float() - 1).split(1, dim=-1)
        across, down = matrix.float()
        angles = 2 * math.pi * (x * across + y * down)
        return torch.cat([angles.sin(), angles.cos()], dim=-1).to(matrix.dtype)
