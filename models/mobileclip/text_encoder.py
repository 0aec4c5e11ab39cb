"""MobileCLIP's text towers: plain transformers, and the hybrid with RepMixer blocks ("MCt").

Shape suffixes: B batch, S tokens, W width, H heads, D width of a head.
Source: `mobileclip/text_encoder.py` and `mobileclip/modules/text/repmixer.py` of the original;
paper arXiv 2311.17049, section 3.2.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.models.card import TextEncoderConfig

REPMIXER_KERNEL = 11
"""Tokens under one RepMixer kernel (paper, text encoder ablation: 11 of 3/11/31)."""
MLP_RATIO = 4
LAYER_SCALE_INIT = 1e-5
BATCH_NORM_EPS = 1e-5


class TextEncoder(nn.Module):
    """Token ids (B, S) int64 → text features (B, embed_dim), not normalised.

    There is no padding mask: tokens of a bidirectional tower see the padding, as in the original.
    The feature is read at the end-of-text token, which has the largest id.
    """

    def __init__(self, config: TextEncoderConfig, embed_dim: int) -> None:
        super().__init__()
        width = config.width
        self.token_embedding = nn.Embedding(config.vocab_size, width)
        self.positional_embedding = nn.Parameter(torch.empty(config.context_length, width))
        self.blocks = nn.Sequential(
            *(
                AttentionBlock(width, config.heads, causal=config.causal)
                if block == "attention"
                else RepMixerBlock(width)
                for block in config.blocks
            )
        )
        self.norm = nn.LayerNorm(width)
        self.projection = nn.Parameter(torch.empty(width, embed_dim))
        self._initialize()

    def forward(self, text: Tensor) -> Tensor:
        x = self.token_embedding(text) + self.positional_embedding[: text.shape[1]]
        x = self.blocks(x)
        end = text.argmax(dim=-1)
        x = x[torch.arange(x.shape[0], device=x.device), end]  # (B, S, W) -> (B, W)
        return self.norm(x) @ self.projection

    def _initialize(self) -> None:
        """OpenAI CLIP's initialisation (open_clip `TextTransformer.init_parameters`).

        The original leaves its projection uninitialised; here it is drawn as in CLIP.
        """
        width, depth = self.norm.normalized_shape[0], len(self.blocks)
        nn.init.normal_(self.token_embedding.weight, std=0.02)
        nn.init.normal_(self.positional_embedding, std=0.01)
        nn.init.normal_(self.projection, std=width**-0.5)
        for block in self.blocks:
            if isinstance(block, AttentionBlock):
                nn.init.normal_(block.attn.qkv.weight, std=width**-0.5)
                nn.init.normal_(block.attn.proj.weight, std=width**-0.5 / math.sqrt(2 * depth))
                nn.init.normal_(block.mlp.fc1.weight, std=(2 * width) ** -0.5)
                nn.init.normal_(block.mlp.fc2.weight, std=width**-0.5 / math.sqrt(2 * depth))


class AttentionBlock(nn.Module):
    """Pre-norm transformer block (B, S, W) → (B, S, W)."""

    def __init__(self, width: int, heads: int, *, causal: bool) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attn = Attention(width, heads, causal=causal)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = Mlp(width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class Attention(nn.Module):
    """Multi-head self-attention (B, S, W) → (B, S, W)."""

    def __init__(self, width: int, heads: int, *, causal: bool) -> None:
        super().__init__()
        self.heads = heads
        self.causal = causal
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        batch, tokens, width = x.shape
        qkv = self.qkv(x).view(batch, tokens, 3, self.heads, width // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)  # each (B, H, S, D)
        x = F.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
        return self.proj(x.transpose(1, 2).reshape(batch, tokens, width))


class Mlp(nn.Module):
    """Two linear layers with GELU between (B, S, W) → (B, S, W)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, MLP_RATIO * width)
        self.fc2 = nn.Linear(MLP_RATIO * width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x)))


class RepMixerBlock(nn.Module):
    """Convolutional block over the token axis (B, S, W) → (B, S, W)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.token_mixer = RepMixer(width)
        self.conv_mlp = ConvMlp(width)
        self.layer_scale = LayerScale(width)

    def forward(self, x: Tensor) -> Tensor:
        x = x.transpose(1, 2).unsqueeze(2)  # (B, S, W) -> (B, W, 1, S)
        x = self.token_mixer(x)
        x = x + self.layer_scale(self.conv_mlp(x))
        return x.squeeze(2).transpose(1, 2)


class RepMixer(nn.Module):
    """x + layer_scale · (mixer(x) − norm(x)) on (B, W, 1, S); folds into one convolution."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = MixerBranches(width, convolution=False)
        self.mixer = MixerBranches(width, convolution=True)
        self.layer_scale = LayerScale(width)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layer_scale(self.mixer(x) - self.norm(x))


class MixerBranches(nn.Module):
    """Sum of a BatchNorm of the input and, with `convolution`, of a depthwise 1×11 ConvNorm.

    The original has no 1×1 scale branch here: it is built only where the kernel's first side
    exceeds 1 (`mobileone.py`).
    """

    def __init__(self, width: int, *, convolution: bool) -> None:
        super().__init__()
        self.identity = nn.BatchNorm2d(width, eps=BATCH_NORM_EPS)
        self.conv_kxk = nn.ModuleList([ConvNorm(width)] if convolution else [])

    def forward(self, x: Tensor) -> Tensor:
        out = self.identity(x)
        for branch in self.conv_kxk:
            out = out + branch(x)
        return out


class ConvNorm(nn.Module):
    """Depthwise 1×11 convolution and BatchNorm on (B, W, 1, S)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            width,
            width,
            kernel_size=(1, REPMIXER_KERNEL),
            padding=(0, REPMIXER_KERNEL // 2),
            groups=width,
            bias=False,
        )
        self.bn = nn.BatchNorm2d(width, eps=BATCH_NORM_EPS)

    def forward(self, x: Tensor) -> Tensor:
        return self.bn(self.conv(x))


class ConvMlp(nn.Module):
    """Depthwise ConvNorm, then two 1×1 convolutions with GELU between, on (B, W, 1, S)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = ConvNorm(width)
        self.fc1 = nn.Conv2d(width, MLP_RATIO * width, kernel_size=1)
        self.fc2 = nn.Conv2d(MLP_RATIO * width, width, kernel_size=1)
        for layer in (self.conv.conv, self.fc1, self.fc2):
            nn.init.trunc_normal_(layer.weight, std=0.02)
        for layer in (self.fc1, self.fc2):
            nn.init.zeros_(layer.bias)  # pyright: ignore[reportArgumentType]

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(self.conv(x))))


class LayerScale(nn.Module):
    """x · gamma with one gamma a channel, on (B, W, 1, S)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.full((width, 1, 1), LAYER_SCALE_INIT))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gamma
