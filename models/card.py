"""The model card: what the weights of one model depend on, and what was published of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from zoo.models.preprocess import Preprocessing

TextBlock = Literal["attention", "repmixer"]
Naming = Literal["zoo", "open_clip", "apple", "transformers", "sam"]
"""Whose keys a weights file has; "sam" are the original Segment Anything's."""
Stage = Literal[2, 3]
"""Of FastVLM's training: visual instruction tuning (2), and more of it (3)."""
MultiScale = Literal["average", "depthwise"]
"""How features of earlier stages of a tower are pooled to the grid of the last."""

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
class TextTowerConfig:
    """What every text tower states: the form of the token ids that it takes."""

    context_length: int = 77
    vocab_size: int = CLIP_VOCABULARY_SIZE


@dataclass(frozen=True, kw_only=True)
class TextEncoderConfig(TextTowerConfig):
    """Architecture of a text tower of MobileCLIP's."""

    width: int
    heads: int
    blocks: tuple[TextBlock, ...]
    causal: bool = False
    """Whether a token sees only the tokens before it."""


@dataclass(frozen=True, kw_only=True)
class OpenClipTextConfig(TextTowerConfig):
    """A text tower of open_clip's, built by open_clip itself."""

    architecture: str
    """The model that it belongs to, as open_clip names it, e.g. `ViT-L-14`."""
    tower: Mapping[str, Any]
    """Its numbers: `text_cfg` of open_clip's configuration."""
    quick_gelu: bool = False
    """Whether its activation is OpenAI's approximation of GELU."""


@dataclass(frozen=True, kw_only=True)
class MaskDecoderConfig:
    """Architecture of SAM's prompt encoder and mask decoder.

    The defaults are SAM's own (`build_sam.py` of segment-anything).
    """

    width: int = 256
    """Width of the image embedding and of the prompt tokens."""
    depth: int = 2
    """Two-way blocks."""
    heads: int = 8
    mlp_width: int = 2048
    mask_channels: int = 16
    """Widest of the convolutions that take a mask prompt in."""
    iou_width: int = 256
    """Hidden width of the head that predicts how good a mask is."""


@dataclass(frozen=True, kw_only=True)
class LanguageModelConfig:
    """Architecture of a causal language model: one of transformers' and its numbers."""

    model_type: str
    """As transformers names it, e.g. `qwen2`."""
    numbers: Mapping[str, Any]
    """Fields of its configuration."""

    @property
    def hidden_size(self) -> int:
        """Width of the token embeddings."""
        return self.numbers["hidden_size"]


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
class PublishedVisionLanguageResults:
    """Figures of the authors, never ours."""

    source: str
    """Where the figures were read."""
    stage: Stage
    """Which of the published weights they belong to."""
    accuracy: Mapping[str, float]
    """Per cent, by the benchmark's name."""
    ttft_ms: float
    """Vision encoder on an M1 Max's neural engine + prefill of the visual tokens on its GPU."""


@dataclass(frozen=True, kw_only=True)
class PublishedSamClipResults:
    """Figures of the authors, never ours, of weights that they did not publish."""

    source: str
    """Where the figures were read."""
    figures: Mapping[str, str]
    """What was measured, and the value with its unit."""


@dataclass(frozen=True, kw_only=True)
class ModelCard:
    """A model of the registry: what every family states of its models."""

    name: str
    family: str
    paper: str
    summary: str
    image: ImageEncoderConfig
    preprocessing: Preprocessing
    weights: PublishedWeights | None = None
    aliases: tuple[str, ...] = ()
    """Further spellings, already in the form of `zoo.models.registry.canonical`."""

    @property
    def image_size(self) -> int:
        """Side of the square input image, in pixels."""
        return self.preprocessing.image_size


@dataclass(frozen=True, kw_only=True)
class ImageTextCard(ModelCard):
    """A model of two towers that meet in one embedding space."""

    embed_dim: int
    text: TextTowerConfig
    results: PublishedResults | None = None

    @property
    def context_length(self) -> int:
        """Number of tokens of a text, start and end token included."""
        return self.text.context_length

    @property
    def vocab_size(self) -> int:
        """Number of entries of the token embedding."""
        return self.text.vocab_size


@dataclass(frozen=True, kw_only=True)
class SamClipCard(ImageTextCard):
    """An image-text model whose image tower is SAM's, with SAM's prompts and masks.

    `preprocessing` is what `encode_image` takes; masks and classes of pixels have sizes of their
    own.
    """

    width: int
    """Width of the image tower's tokens."""
    stride: int
    """Side in pixels of the square that a token stands for."""
    decoder: MaskDecoderConfig = field(default_factory=MaskDecoderConfig)
    mask_image_size: int
    """Longer side in pixels of the pictures that masks are predicted of."""
    segmentation_image_size: int
    """Side in pixels of the squares whose pixels the CLIP head alone classifies."""
    paper_results: PublishedSamClipResults | None = None


@dataclass(frozen=True, kw_only=True)
class VisionTowerCard(ModelCard):
    """An image tower alone."""

    feature_dim: int
    """Width of a visual token."""
    embed_dim: int
    """Width of the CLIP embedding, in files that hold its head."""
    stride: int
    """Side in pixels of the square that a visual token stands for."""


@dataclass(frozen=True, kw_only=True)
class VisionLanguageCard(ModelCard):
    """An image tower whose tokens, projected, are read by a causal language model."""

    feature_dim: int
    """Width of a visual token before the projector."""
    stride: int
    """Side in pixels of the square that a visual token stands for."""
    language: LanguageModelConfig
    multi_scale: MultiScale | None = None
    """Whether the projector also reads the features of earlier stages, and how they are pooled; no
    published weights have them."""
    results: tuple[PublishedVisionLanguageResults, ...] = ()
