"""FastViTHD: an image tower whose output is a sequence of visual tokens."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.models.card import VisionTowerCard
from zoo.models.fastvlm.multi_scale import MultiScalePooling, multi_scale_features
from zoo.models.preprocess import ImageSource, Preprocessing
from zoo.models.reparameterize import fold_entirely


def feature_tokens(
    image_encoder: nn.Module, images: Tensor, multi_scale: MultiScalePooling | None = None
) -> Tensor:
    """Return a tower's features of images (B, 3, H, W) as tokens, row by row.

    FastViTHD gives (B, ⌈H / 64⌉ · ⌈W / 64⌉, 3072): the output of its last convolution, before any
    pooling (`mobileclip_encoder.py`). `multi_scale` joins features of earlier stages to it.
    """
    features: Tensor
    if multi_scale is None:
        features = image_encoder.forward_features(images)  # pyright: ignore[reportCallIssue]
    else:
        features = multi_scale_features(image_encoder, multi_scale, images)
    return features.flatten(2).transpose(1, 2)  # (B, C, h, w) -> (B, h·w, C)


class VisionTower(nn.Module):
    """An image tower alone, as a backbone or as the image half of CLIP."""

    def __init__(
        self, card: VisionTowerCard, image_encoder: nn.Module, preprocessing: Preprocessing
    ) -> None:
        """`image_encoder`: timm's tower, its head the CLIP projection or without parameters."""
        super().__init__()
        self.card = card
        self.image_encoder = image_encoder
        self.preprocessing = preprocessing

    def preprocess(self, source: ImageSource) -> Tensor:
        """Return a picture (path, bytes, PIL image or tensor) as float32 (3, size, size)."""
        return self.preprocessing(source)

    @property
    def has_head(self) -> bool:
        """Whether the weights hold the CLIP projection."""
        return any(True for _ in self.image_encoder.get_submodule("head").parameters())

    def forward_features(self, images: Tensor) -> Tensor:
        """Return visual tokens (B, ⌈H/64⌉ · ⌈W/64⌉, 3072) of preprocessed images (B, 3, H, W)."""
        return feature_tokens(self.image_encoder, images)

    def encode_image(self, image: Tensor, normalize: bool = False) -> Tensor:
        """Return CLIP features (B, 768) of preprocessed images (B, 3, H, W).

        Raises ValueError where the weights were read from a file without the CLIP head.
        """
        if not self.has_head:
            raise ValueError(
                f"These weights of {self.card.name} have no CLIP head, which vision-language "
                "checkpoints in transformers' naming leave out; read them from Apple's, or take "
                "forward_features."
            )
        features = self.image_encoder(image)
        return F.normalize(features, dim=-1) if normalize else features

    def forward(self, images: Tensor) -> Tensor:
        return self.forward_features(images)

    @torch.no_grad()
    def reparameterize(self) -> VisionTower:
        """Return a copy for inference, in eval mode, with everything folded that can be."""
        fused = copy.deepcopy(self)
        fold_entirely(fused)
        return fused.eval()
