"""A two-tower image-text model with its card, preprocessing and tokenizer."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.models.card import ImageTextCard
from zoo.models.preprocess import ImageSource, Preprocessing
from zoo.models.reparameterize import fold_entirely
from zoo.models.tokenizer import Tokenize, Tokenizer

MAX_LOGIT_SCALE = 100.0
"""Upper bound of exp(logit_scale) (`mobileclip/clip.py`)."""


class ImageTextModel(nn.Module):
    """Image and text towers that meet in one embedding space.

    `encode_image`, `encode_text`, `logit_scale` and `forward` behave as in open_clip.
    """

    def __init__(
        self,
        card: ImageTextCard,
        image_encoder: nn.Module,
        text_encoder: nn.Module,
        preprocess: Preprocessing,
    ) -> None:
        super().__init__()
        self.card = card
        self.image_encoder = image_encoder
        self.text_encoder = text_encoder
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))
        self._preprocess = preprocess
        self._tokenizer: Tokenize = Tokenizer(
            context_length=card.context_length, vocab_size=card.vocab_size
        )

    @property
    def preprocessing(self) -> Preprocessing:
        """The preprocessing in force; differs from the card's where `image_size` was given."""
        return self._preprocess

    def set_preprocessing(self, preprocessing: Preprocessing) -> None:
        """Use another preprocessing than the card's, as a checkpoint or an image size asks."""
        self._preprocess = preprocessing

    def preprocess(self, source: ImageSource) -> Tensor:
        """Return a picture (path, bytes, PIL image or tensor) as float32 (3, size, size)."""
        return self._preprocess(source)

    def tokenize(self, texts: str | Sequence[str], context_length: int | None = None) -> Tensor:
        """Return token ids int64 (N, context_length) of one text or several."""
        return self._tokenizer(texts, context_length)

    def encode_image(self, image: Tensor, normalize: bool = False) -> Tensor:
        """Return features (B, embed_dim) of preprocessed images (B, 3, size, size)."""
        features = self.image_encoder(image)
        return F.normalize(features, dim=-1) if normalize else features

    def encode_text(self, text: Tensor, normalize: bool = False) -> Tensor:
        """Return features (B, embed_dim) of token ids int64 (B, context_length)."""
        features = self.text_encoder(text)
        return F.normalize(features, dim=-1) if normalize else features

    def forward(
        self, image: Tensor | None = None, text: Tensor | None = None
    ) -> tuple[Tensor | None, Tensor | None, Tensor]:
        """Return normalised image features, normalised text features and the logit scale.

        The scale is a multiplier: exp(logit_scale), at most 100.
        """
        image_features = None if image is None else self.encode_image(image, normalize=True)
        text_features = None if text is None else self.encode_text(text, normalize=True)
        return image_features, text_features, self.logit_scale.exp().clamp(max=MAX_LOGIT_SCALE)

    def file_metadata(self) -> dict[str, str]:
        """Return what the header of a weights file says beside the card's name and the
        preprocessing, as JSON by name."""
        return {}

    def reparameterize(self) -> Self:
        """Return a copy for inference, in eval mode: every train-time branch, BatchNorm and
        layer scale that can be folded is folded. This model stays as it is, and the copy of a
        reparameterized model equals it.
        """
        fused = copy.deepcopy(self)
        fold_entirely(fused)
        return fused.eval()
