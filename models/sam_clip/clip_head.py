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
_SMALLEST_NEIGHBOURHOOD = 3
"""Patches on a side of the smallest square that a patch's feature is pooled over."""
_LARGEST_SHARE = 0.75
"""Of the picture's shorter side, that the largest such square may have."""


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
        """Return one feature of every patch: (B, h, w, embed_dim), of length 1 or less.

        The paper speaks of the head's output for each patch. In the text tower's space only what
        has been pooled and has passed the LayerNorm and the MLP can be, so a patch goes through
        them with each of its `neighbourhoods`, and its feature is the mean of what they give, each
        of unit length. `shown`: rows and columns from the upper left that are a picture; what lies
        beyond, padding, is no neighbour.
        """
        features = self.blocks(tokens)
        rows, columns = shown or tokens.shape[1:3]
        if shown is not None:
            beyond = torch.ones_like(features[..., :1], dtype=torch.bool)
            beyond[:, :rows, :columns] = False
            features = torch.where(beyond, features.amin(), features)
        around = self.neighbourhoods(features, shorter_side=min(rows, columns))
        return torch.stack([F.normalize(self.project(one), dim=-1) for one in around]).mean(dim=0)

    def neighbourhoods(self, features: Tensor, shorter_side: int) -> list[Tensor]:
        """Return the largest value of each channel in squares about a patch, from small to large.

        They have 3, 5, 9, 17, … patches a side, up to three quarters of the picture's shorter side.
        LayerNorm and MLP have learned to read the largest of many patches; the values of few are
        unlike them, but say best where something is (measured: BENCHMARKS.md). (B, h, w, width) →
        each the same.
        """
        side = _SMALLEST_NEIGHBOURHOOD
        pooled = [_largest_around(features.permute(0, 3, 1, 2), side)]
        while 2 * side - 1 <= _LARGEST_SHARE * shorter_side:
            # Squares of squares: of `side` and `side` patches, they have 2 side - 1.
            pooled.append(_largest_around(pooled[-1], side))
            side = 2 * side - 1
        return [one.permute(0, 2, 3, 1) for one in pooled]

    def project(self, features: Tensor) -> Tensor:
        """Take what the blocks give, pooled or of a patch, (…, width) → (…, embed_dim)."""
        return self.mlp(self.norm(features))


def _largest_around(channels: Tensor, side: int) -> Tensor:
    """(B, width, h, w) → the same."""
    return F.max_pool2d(channels, side, stride=1, padding=side // 2)
