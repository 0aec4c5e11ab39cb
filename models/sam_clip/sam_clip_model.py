"""SAM-CLIP: an image tower read by words and by masks.

Shape suffixes: B pictures, S side in pixels, h and w the grid of tokens, N prompts, P points.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from torch import Tensor, nn
from torch.nn import functional as F

from zoo.models.card import SamClipCard
from zoo.models.image_text_model import ImageTextModel
from zoo.models.preprocess import Preprocessing
from zoo.models.sam_clip.clip_head import ClipHead
from zoo.models.sam_clip.mask_decoder import MaskDecoder
from zoo.models.sam_clip.prompt_encoder import PromptEncoder
from zoo.models.sam_clip.vision import image_tokens

Tokenize = Callable[[str | Sequence[str], int | None], Tensor]


class Prompts(NamedTuple):
    """Prompts of one form, for one picture or for several."""

    points: Tensor
    """float32 (N, P, 2): x and y as fractions, 0…1, of the square that the tower sees."""
    labels: Tensor
    """int64 (N, P): the constants of `zoo.models.sam_clip.prompt_encoder`."""
    masks: Tensor | None = None
    """float32 (N, 1, 4h, 4w): logits as SAM puts them out; None without mask prompts."""


class SamClipModel(ImageTextModel):
    """SAM's image tower with two heads: one in a text tower's space, one that segments.

    `encode_image`, `encode_text` and all else of an image-text model work as they do there, for
    pictures of every size that the stride divides. Whatever begins with `tokens` shares one pass of
    the tower.
    """

    card: SamClipCard  # pyright: ignore[reportIncompatibleVariableOverride]

    def __init__(
        self,
        card: SamClipCard,
        image_encoder: nn.Module,
        clip_head: ClipHead,
        prompt_encoder: PromptEncoder,
        mask_decoder: MaskDecoder,
        text_encoder: nn.Module,
        preprocess: Preprocessing,
    ) -> None:
        super().__init__(card, image_encoder, text_encoder, preprocess)
        self.clip_head = clip_head
        self.prompt_encoder = prompt_encoder
        self.mask_decoder = mask_decoder

    def encode_image(self, image: Tensor, normalize: bool = False) -> Tensor:
        """Return features (B, embed_dim) of preprocessed pictures (B, 3, S, S)."""
        features = self.clip_head(self.tokens(image))
        return F.normalize(features, dim=-1) if normalize else features

    def dense_features(self, image: Tensor, normalize: bool = False) -> Tensor:
        """Return features (B, h, w, embed_dim) of every patch, in the text tower's space."""
        features = self.clip_head.patches(self.tokens(image))
        return F.normalize(features, dim=-1) if normalize else features

    def tokens(self, image: Tensor) -> Tensor:
        """Return the tower's tokens (B, h, w, width) of normalised pictures (B, 3, S, S), before
        SAM's neck: what both heads read."""
        return image_tokens(self.image_encoder, image)

    def mask_embedding(self, tokens: Tensor) -> Tensor:
        """Return what the mask decoder reads, (B, decoder width, h, w)."""
        neck: Any = self.image_encoder.get_submodule("neck")
        return neck(tokens.permute(0, 3, 1, 2))

    def decode_masks(self, embedding: Tensor, prompts: Prompts) -> tuple[Tensor, Tensor]:
        """Return masks (N, 4, 4h, 4w), logits, and their predicted IoU (N, 4).

        `embedding` is that of one picture (1, decoder width, h, w) for all prompts, or has a row
        for each prompt. Of the four masks the first answers prompts that say enough (a box, several
        points), the other three a single point.
        """
        height, width = embedding.shape[2:]
        encoder = self.prompt_encoder
        dense = encoder.without_mask() if prompts.masks is None else encoder.masks(prompts.masks)
        picture = (embedding + dense).expand(len(prompts.points), -1, -1, -1)
        return self.mask_decoder(
            picture,
            encoder.grid_positions(height, width),
            encoder(prompts.points, prompts.labels),
        )
