"""The cards of FastVLM and of FastViTHD, its image tower.

Architectures: `llava/model/multimodal_encoder/mobileclip` of the original and the configurations
of the published checkpoints. Published figures: tables 6 and 11 of arXiv 2412.13303 v2, whose
values differ from those of the model cards on the hub; they are not mixed here.
"""

from __future__ import annotations

from typing import Any

from zoo.models.card import (
    ImageEncoderConfig,
    LanguageModelConfig,
    ModelCard,
    PublishedVisionLanguageResults,
    PublishedWeights,
    Stage,
    VisionLanguageCard,
    VisionTowerCard,
)
from zoo.models.mobileclip.cards import TINY_FASTVITHD
from zoo.models.preprocess import Preprocessing

_PAPER = "https://arxiv.org/abs/2412.13303"
_SOURCE = f"{_PAPER}v2, tables 6 and 11"
FASTVITHD_FEATURES = 3072
_TINY_FEATURES = 768
STRIDE = 64

_BENCHMARKS = (
    "GQA", "ScienceQA", "TextVQA", "POPE", "VQAv2", "DocVQA", "MMMU", "SEED", "ChartQA", "InfoVQA",
)  # fmt: skip

# transformers' `fastvit_mci3` is FastViTHD (`mobileclip/mci.py`); timm builds it.
_FASTVITHD = ImageEncoderConfig(timm_name="fastvit_mci3")


def _preprocessing(image_size: int) -> Preprocessing:
    """Padded to a square and not normalised (`mobileclip_encoder.py`, `mm_utils.py`)."""
    return Preprocessing(image_size=image_size, interpolation="bicubic", aspect="pad")


def _qwen2(**numbers: Any) -> LanguageModelConfig:
    common = {
        "max_position_embeddings": 32768,
        "rms_norm_eps": 1e-6,
        "rope_theta": 1_000_000.0,
        "tie_word_embeddings": False,
    }
    return LanguageModelConfig(model_type="qwen2", numbers=common | numbers)


def _results(
    stage: Stage, ttft_ms: float, figures: tuple[float, ...]
) -> PublishedVisionLanguageResults:
    """Figures in the order of `_BENCHMARKS`."""
    return PublishedVisionLanguageResults(
        source=_SOURCE,
        stage=stage,
        accuracy=dict(zip(_BENCHMARKS, figures, strict=True)),
        ttft_ms=ttft_ms,
    )


def _card(
    size: str,
    language: LanguageModelConfig,
    results: tuple[PublishedVisionLanguageResults, ...],
) -> VisionLanguageCard:
    repository = f"apple/FastVLM-{size}"
    return VisionLanguageCard(
        name=f"fastvlm-{size}".lower(),
        family="FastVLM",
        paper=_PAPER,
        summary=f"FastVLM-{size}: FastViTHD at 1024 pixels, 256 visual tokens, Qwen2-{size}",
        image=_FASTVITHD,
        preprocessing=_preprocessing(1024),
        weights=PublishedWeights(
            repository=repository,
            filename="model.safetensors",
            naming="apple",
            licence="Apple Machine Learning Research Model (research only)",
            licence_url=f"https://huggingface.co/{repository}/blob/main/LICENSE",
        ),
        feature_dim=FASTVITHD_FEATURES,
        stride=STRIDE,
        language=language,
        results=results,
    )


_TINY = VisionLanguageCard(
    name="fastvlm-tiny",
    family="FastVLM",
    paper=_PAPER,
    summary="5 M parameters for tests and the demo: FastVLM's parts in small",
    image=TINY_FASTVITHD,
    preprocessing=_preprocessing(192),
    feature_dim=_TINY_FEATURES,
    stride=STRIDE,
    language=_qwen2(
        vocab_size=512,
        hidden_size=192,
        num_hidden_layers=4,
        num_attention_heads=6,
        num_key_value_heads=2,
        intermediate_size=512,
        initializer_range=0.06,  # for so narrow a model; the usual 0.02 is for a width of 1,000
    ),
)

CARDS: tuple[ModelCard, ...] = (
    _TINY,
    _card(
        "0.5B",
        _qwen2(
            vocab_size=151_936,
            hidden_size=896,
            num_hidden_layers=24,
            num_attention_heads=14,
            num_key_value_heads=2,
            intermediate_size=4864,
        ),
        (
            _results(2, 166, (63.1, 81.5, 62.9, 86.6, 78.8, 70.4, 32.9, 69.2, 63.4, 35.8)),
            _results(3, 166, (62.7, 82.0, 65.8, 86.2, 78.6, 79.1, 33.6, 69.3, 71.4, 43.3)),
        ),
    ),
    _card(
        "1.5B",
        _qwen2(
            vocab_size=151_936,
            hidden_size=1536,
            num_hidden_layers=28,
            num_attention_heads=12,
            num_key_value_heads=2,
            intermediate_size=8960,
        ),
        (
            _results(2, 233, (64.3, 89.9, 69.0, 87.8, 80.7, 75.6, 39.1, 73.1, 69.6, 41.7)),
            _results(3, 233, (64.3, 92.9, 71.2, 87.8, 80.9, 84.2, 38.0, 72.6, 69.5, 49.6)),
        ),
    ),
    _card(
        "7B",
        _qwen2(
            vocab_size=152_064,
            hidden_size=3584,
            num_hidden_layers=28,
            num_attention_heads=28,
            num_key_value_heads=4,
            intermediate_size=18_944,
        ),
        (
            _results(2, 641, (65.2, 95.7, 73.4, 86.9, 81.6, 82.7, 47.3, 74.1, 77.5, 51.2)),
            _results(3, 641, (64.1, 96.8, 76.1, 87.2, 81.9, 88.0, 44.0, 74.5, 78.1, 55.1)),
        ),
    ),
    VisionTowerCard(
        name="fastvithd-tiny",
        family="FastVLM",
        paper=_PAPER,
        summary="fastvlm-tiny's image tower alone",
        image=TINY_FASTVITHD,
        preprocessing=_preprocessing(192),
        feature_dim=_TINY_FEATURES,
        embed_dim=128,
        stride=STRIDE,
    ),
    VisionTowerCard(
        name="fastvithd",
        family="FastVLM",
        paper=_PAPER,
        summary="FastVLM's image tower alone, from any file that holds one",
        image=_FASTVITHD,
        preprocessing=_preprocessing(1024),
        feature_dim=FASTVITHD_FEATURES,
        embed_dim=768,
        stride=STRIDE,
        aliases=("mobileclip-l-1024", "mobileclip-l-512"),
    ),
)
