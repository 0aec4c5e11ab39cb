"""The head that takes SAM's tokens into the text tower's space.

Source: SAM-CLIP (arXiv 2310.15308), section 3.2 and appendix A; what the paper leaves open is
decided here and said so.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional as F

BLOCKS = 3
"""Transformer blocks of the head (appendix A)."""
_LAYER_NORM_EPS = 1e-6
"""SAM's."""
_NEIGHBOURHOOD = 3
"""Patches on a side of the square that a patch's feature is pooled over."""


class ClipHead(nn.Module):
    """Tokens (B, h, w, width) of the tower, before SAM's neck → features (B, embed_dim).

    Three blocks that begin as copies of the tower's last one, the largest value of each channel
    over the patches, LayerNorm, and an MLP with two hidden layers. The paper does not say where the
    head taps the tower; blocks of its width can only read tokens that have not passed the neck.
    Its MLP has no stated width: the hidden layers are as wide as the tokens.

    The paper's body draws the blocks at random and its appendix copies them: they are copied here,
    which the appendix found to train faster.
    """

    def __init__(self, last_block: nn.Module, width: int, embed_dim: int) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*(copy.deepcopy(last_block) for _ in range(BLOCKS)))
        self.norm = nn.LayerNorm(width, eps=_LAYER_NORM_EPS)
        self.mlp = nn.Sequential(
            nn.Linear(width, width),
            nn.GELU(),
            nn.Linear(width, width),
            nn.GELU(),
            nn.Linear(width, embed_dim),
        )

    def forward(self, tokens: Tensor) -> Tensor:
        """Return one feature of every picture: (B, embed_dim), not normalised."""
        return self.project(self.blocks(tokens).amax(dim=(1, 2)))

    def patches(self, tokens: Tensor, shown: tuple[int, int] | None = None) -> Tensor:
        """Return one feature of every patch: (B, h, w, embed_dim), not normalised.

        The paper speaks of the head's output for each patch. In the text tower's space only what
        has been pooled and has passed the LayerNorm and the MLP can be, so a patch goes through
        them with its neighbours. `shown`: rows and columns from the upper left that are a picture;
        what lies beyond, padding, is no neighbour.
        """
        features = self.blocks(tokens)
        if shown is not None:
            beyond = torch.ones_like(features[..., :1], dtype=torch.bool)
            beyond[:, : shown[0], : shown[1]] = False
            features = torch.where(beyond, features.amin(), features)
        return self.project(self.nearby(features))

    def nearby(self, features: Tensor) -> Tensor:
        """Return the largest value of each channel over a patch and the eight around it.

        LayerNorm and MLP have learned to read the largest of many patches; the values of a single
        one are unlike them (measured: BENCHMARKS.md). (B, h, w, width) → the same.
        """
        channels = features.permute(0, 3, 1, 2)
        pooled = F.max_pool2d(channels, _NEIGHBOURHOOD, stride=1, padding=_NEIGHBOURHOOD // 2)
        return pooled.permute(0, 2, 3, 1)

    def project(self, features: Tensor) -> Tensor:
        """Take what the blocks give, pooled or of a patch, (…, width) → (…, embed_dim)."""
        return self.mlp(self.norm(features))
