"""The model card: what the weights of one model depend on, and what was published of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from zoo.models.preprocess import Preprocessing

TextBlock = Literal["attention", "repmixer"]
Naming = Literal["zoo", "open_clip", "apple"]

CLIP_VOCABULARY_SIZE = 49408
"""Size of CLIP's byte-pair vocabulary; the end-of-text token is its last entry, 49407."""


@dataclass(frozen=True, kw_only=True)
class ImageEncoderConfig:
    """Architecture of an image tower: a timm model and what differs from timm's defaults."""

    timm_name: str
    """Architecture name in timm, e.g. `fastvit_mci0`."""
    overrides: Mapping[str, Any] = field(default_factory=dict)
    """Keyword arguments that replace timm's architecture numbers."""
    stem_padding: int = 0
    """Padding in pixels of the first stem convolution of `vit_base_mci_224`."""
    layer_norm_eps: float | None = None
    """Epsilon of every LayerNorm; None keeps timm's."""


@dataclass(frozen=True, kw_only=True)
class TextEncoderConfig:
    """Architecture of a text tower."""

    width: int
    heads: int
    blocks: tuple[TextBlock, ...]
    causal: bool = False
    """Whether a token sees only the tokens before it."""
    context_length: int = 77
    vocab_size: int = CLIP_VOCABULARY_SIZE


@dataclass(frozen=True, kw_only=True)
class PublishedWeights:
    """Where the published weights lie and under which licence."""

    repository: str
    """Repository on the Hugging Face hub."""
    filename: str
    naming: Naming
    """Key naming inside the file."""
    licence: str
    licence_url: str


@dataclass(frozen=True, kw_only=True)
class PublishedResults:
    """Figures of the authors, never ours. Accuracies and recalls are percentages."""

    source: str
    """Where the figures were read."""
    samples_seen_billions: float
    image_parameters_millions: float
    """Reparameterized image tower."""
    text_parameters_millions: float
    """Reparameterized text tower."""
    image_latency_ms: float
    """Core ML, batch 1, iPhone 12 Pro Max, iOS 17.0.3."""
    text_latency_ms: float
    imagenet_top1: float
    average_38: float
    """Mean of the main metric over the 38 data sets of the DataComp evaluation."""
    flickr30k_text_to_image_r1: float
    flickr30k_image_to_text_r1: float
    coco_text_to_image_r1: float
    coco_image_to_text_r1: float
    image_gmacs: float | None = None
    """Giga multiply-adds of the image tower at its own size, where published."""
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class ModelCard:
    """A model of the registry: its architecture, preprocessing, weights and published results."""

    name: str
    family: str
    paper: str
    summary: str
    embed_dim: int
    image: ImageEncoderConfig
    text: TextEncoderConfig
    preprocessing: Preprocessing
    weights: PublishedWeights | None = None
    results: PublishedResults | None = None
    aliases: tuple[str, ...] = ()
    """Further spellings, already in the form of `zoo.models.registry.canonical`."""

    @property
    def image_size(self) -> int:
        """Side of the square input image, in pixels."""
        return self.preprocessing.image_size

    @property
    def context_length(self) -> int:
        """Number of tokens of a text, start and end token included."""
        return self.text.context_length

    @property
    def vocab_size(self) -> int:
        """Number of entries of the token embedding."""
        return self.text.vocab_size
