"""SAM's mask decoder: an image embedding and prompt tokens become masks.

Shape suffixes: N prompts, T tokens, W width, h and w the image embedding's grid, M masks.
Source: Segment Anything (arXiv 2304.02643), appendix A; `mask_decoder.py` and `transformer.py` of
segment-anything. The parameters have the original's names.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.models.card import MaskDecoderConfig
from zoo.models.sam_clip.layers import LayerNorm2d, Perceptron

MASKS = 4
"""Of every prompt: one for prompts that say enough, three for a point that may mean a part, the
object or more."""
_NARROWING = 2
"""How much narrower than the tokens the attention between tokens and picture is."""


class MaskDecoder(nn.Module):
    """Embedding (N or 1, W, h, w), positions (1, W, h, w), tokens (N, T, W) and which of them are
    there, bool (N, T) → masks (N, 4, 4h, 4w), logits, and their predicted IoU (N, 4).

    One embedding for all prompts is projected once for all of them, until the prompts change it.
    """

    def __init__(self, config: MaskDecoderConfig) -> None:
        super().__init__()
        width = config.width
        self.transformer = TwoWayTransformer(config)
        self.iou_token = nn.Embedding(1, width)
        self.mask_tokens = nn.Embedding(MASKS, width)
        self.output_upscaling = nn.Sequential(
            nn.ConvTranspose2d(width, width // 4, 2, stride=2),
            LayerNorm2d(width // 4),
            nn.GELU(),
            nn.ConvTranspose2d(width // 4, width // 8, 2, stride=2),
            nn.GELU(),
        )
        self.output_hypernetworks_mlps = nn.ModuleList(
            Perceptron(width, width, width, width // 8) for _ in range(MASKS)
        )
        self.iou_prediction_head = Perceptron(width, config.iou_width, config.iou_width, MASKS)

    def forward(
        self, embedding: Tensor, positions: Tensor, tokens: Tensor, present: Tensor
    ) -> tuple[Tensor, Tensor]:
        own = torch.cat([self.iou_token.weight, self.mask_tokens.weight])
        tokens = torch.cat([own.expand(len(tokens), -1, -1), tokens], dim=1)
        always = torch.ones(len(tokens), len(own), dtype=torch.bool, device=tokens.device)
        present = torch.cat([always, present], dim=1)
        tokens, picture = self.transformer(embedding, positions, tokens, present)
        mask_tokens = tokens[:, 1 : 1 + MASKS]
        pixels = self.output_upscaling(
            picture.transpose(1, 2).unflatten(2, embedding.shape[2:])
        )  # (N, W / 8, 4h, 4w)
        kernels = torch.stack(
            [
                network(mask_tokens[:, number])
                for number, network in enumerate(self.output_hypernetworks_mlps)
            ],
            dim=1,
        )  # (N, M, W / 8)
        masks = (kernels @ pixels.flatten(2)).unflatten(2, pixels.shape[2:])
        return masks, self.iou_prediction_head(tokens[:, 0])


class TwoWayTransformer(nn.Module):
    """Tokens and picture read each other in turn; the picture's positions are added again at every
    reading, and so are the tokens as they came, which hold the prompt's positions."""

    def __init__(self, config: MaskDecoderConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            TwoWayBlock(config, first=number == 0) for number in range(config.depth)
        )
        self.final_attn_token_to_image = Attention(config.width, config.heads, _NARROWING)
        self.norm_final_attn = nn.LayerNorm(config.width)

    def forward(
        self, embedding: Tensor, positions: Tensor, tokens: Tensor, present: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return tokens (N, T, W) and picture (N, h·w, W)."""
        picture = embedding.flatten(2).transpose(1, 2)
        places = positions.flatten(2).transpose(1, 2)
        prompt = tokens
        for layer in self.layers:
            tokens, picture = layer(tokens, picture, prompt, places, present)
        read = self.final_attn_token_to_image(tokens + prompt, picture + places, picture)
        return self.norm_final_attn(tokens + read), picture


class TwoWayBlock(nn.Module):
    """Tokens read each other, then the picture, think, and are read by the picture."""

    def __init__(self, config: MaskDecoderConfig, *, first: bool) -> None:
        """`first`: the first block replaces the tokens that later ones add to."""
        super().__init__()
        width, heads = config.width, config.heads
        self.first = first
        self.self_attn = Attention(width, heads)
        self.norm1 = nn.LayerNorm(width)
        self.cross_attn_token_to_image = Attention(width, heads, _NARROWING)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = Mlp(width, config.mlp_width)
        self.norm3 = nn.LayerNorm(width)
        self.cross_attn_image_to_token = Attention(width, heads, _NARROWING)
        self.norm4 = nn.LayerNorm(width)

    def forward(
        self, tokens: Tensor, picture: Tensor, prompt: Tensor, places: Tensor, present: Tensor
    ) -> tuple[Tensor, Tensor]:
        if self.first:
            tokens = self.self_attn(tokens, tokens, tokens, present)
        else:
            placed = tokens + prompt
            tokens = tokens + self.self_attn(placed, placed, tokens, present)
        tokens = self.norm1(tokens)
        read = self.cross_attn_token_to_image(tokens + prompt, picture + places, picture)
        tokens = self.norm2(tokens + read)
        tokens = self.norm3(tokens + self.mlp(tokens))
        read = self.cross_attn_image_to_token(picture + places, tokens + prompt, tokens, present)
        return tokens, self.norm4(picture + read)


class Mlp(nn.Module):
    """Two linear layers with ReLU between them."""

    def __init__(self, width: int, hidden_width: int) -> None:
        super().__init__()
        self.lin1 = nn.Linear(width, hidden_width)
        self.lin2 = nn.Linear(hidden_width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.lin2(torch.relu(self.lin1(x)))


class Attention(nn.Module):
    """Multi-head attention of queries (N, T, W) to keys and values (N, S, W).

    Either side may be one for all: (1, …, W). `present`, bool (N, S), says which keys are read.
    """

    def __init__(self, width: int, heads: int, narrowing: int = 1) -> None:
        super().__init__()
        self.heads = heads
        inner = width // narrowing
        self.q_proj = nn.Linear(width, inner)
        self.k_proj = nn.Linear(width, inner)
        self.v_proj = nn.Linear(width, inner)
        self.out_proj = nn.Linear(inner, width)

    def forward(
        self, queries: Tensor, keys: Tensor, values: Tensor, present: Tensor | None = None
    ) -> Tensor:
        q, k, v = (
            projection(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for projection, x in (
                (self.q_proj, queries),
                (self.k_proj, keys),
                (self.v_proj, values),
            )
        )
        count = len(q) if len(k) == 1 else len(k)
        q, k, v = (x.expand(count, -1, -1, -1) for x in (q, k, v))
        read_keys = None if present is None else present[:, None, None]
        read = F.scaled_dot_product_attention(q, k, v, attn_mask=read_keys)
        return self.out_proj(read.transpose(1, 2).flatten(2))
