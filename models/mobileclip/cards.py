"""The cards of MobileCLIP and MobileCLIP2.

Architectures: `mobileclip/configs` and `mobileclip2/model_configs` of the original. Published
figures: its README (parameters, latency, ImageNet, 38-set average) and its `results/*.jsonl`
(retrieval, recomputed from the files).
"""

from __future__ import annotations

from functools import partial

from zoo.models.card import (
    ImageEncoderConfig,
    ImageTextCard,
    Naming,
    PublishedResults,
    PublishedWeights,
    TextBlock,
    TextEncoderConfig,
)
from zoo.models.preprocess import OPENAI_MEAN, OPENAI_STD, Interpolation, Preprocessing

_SOURCE = "apple/ml-mobileclip README and results/*.jsonl, commit 4144bb1"
# Family -> (paper, training data).
_RELEASES = {
    "MobileCLIP": ("https://arxiv.org/abs/2311.17049", "DataCompDR-1B"),
    "MobileCLIP2": ("https://arxiv.org/abs/2508.20691", "DFNDR-2B"),
}

_ATTENTION: tuple[TextBlock, ...] = ("attention",)
_HYBRID_TEXT = TextEncoderConfig(
    width=512, heads=8, blocks=("repmixer", *_ATTENTION * 4, "repmixer")
)
_BASE_TEXT = TextEncoderConfig(width=512, heads=8, blocks=_ATTENTION * 12)
_CAUSAL_TEXT = TextEncoderConfig(width=512, heads=8, blocks=_ATTENTION * 12, causal=True)
_LARGE_TEXT = TextEncoderConfig(width=768, heads=12, blocks=_ATTENTION * 12)

_MCI0 = ImageEncoderConfig(timm_name="fastvit_mci0")
_MCI1 = ImageEncoderConfig(timm_name="fastvit_mci1")
_MCI2 = ImageEncoderConfig(timm_name="fastvit_mci2")
_MCI3 = ImageEncoderConfig(timm_name="fastvit_mci3")
_MCI4 = ImageEncoderConfig(timm_name="fastvit_mci4")
# The first stem convolution of the original has padding 1 (`mobileclip/models/vit.py`), timm's
# has 0, and the LayerNorms differ in epsilon. MobileCLIP2-B was trained on timm's tower.
_VIT_B_APPLE = ImageEncoderConfig(timm_name="vit_base_mci_224", stem_padding=1, layer_norm_eps=1e-5)
_VIT_B_TIMM = ImageEncoderConfig(timm_name="vit_base_mci_224")
_VIT_L = ImageEncoderConfig(
    timm_name="vit_large_patch14_clip_224", overrides={"drop_path_rate": 0.1}
)


def _plain(image_size: int) -> Preprocessing:
    """Pixels in [0, 1], not normalised: MobileCLIP up to B, MobileCLIP2 up to B."""
    return Preprocessing(image_size=image_size)


def _openai(image_size: int, interpolation: Interpolation = "bilinear") -> Preprocessing:
    """OpenAI's mean and deviation: S3, S4 and L/14 of both releases."""
    return Preprocessing(
        image_size=image_size, mean=OPENAI_MEAN, std=OPENAI_STD, interpolation=interpolation
    )


def _weights(repository: str, filename: str, naming: Naming) -> PublishedWeights:
    return PublishedWeights(
        repository=f"apple/{repository}",
        filename=filename,
        naming=naming,
        licence="Apple Machine Learning Research Model (research only)",
        licence_url=f"https://huggingface.co/apple/{repository}/blob/main/LICENSE",
    )


def _results(
    millions: tuple[float, float],
    latency_ms: tuple[float, float],
    imagenet_top1: float,
    average_38: float,
    flickr30k: tuple[float, float],
    coco: tuple[float, float],
    *,
    samples_seen_billions: float = 13,
    image_gmacs: float | None = None,
    note: str = "",
) -> PublishedResults:
    """Pairs are (image, text) for sizes and latencies, (text → image, image → text) for R@1."""
    return PublishedResults(
        source=_SOURCE,
        samples_seen_billions=samples_seen_billions,
        image_parameters_millions=millions[0],
        text_parameters_millions=millions[1],
        image_latency_ms=latency_ms[0],
        text_latency_ms=latency_ms[1],
        imagenet_top1=imagenet_top1,
        average_38=average_38,
        flickr30k_text_to_image_r1=flickr30k[0],
        flickr30k_image_to_text_r1=flickr30k[1],
        coco_text_to_image_r1=coco[0],
        coco_image_to_text_r1=coco[1],
        image_gmacs=image_gmacs,
        note=note,
    )


def _card(
    family: str,
    variant: str,
    image: ImageEncoderConfig,
    text: TextEncoderConfig,
    preprocessing: Preprocessing,
    results: PublishedResults,
    *,
    file: str,
    naming: Naming,
    aliases: tuple[str, ...] = (),
) -> ImageTextCard:
    paper, training_data = _RELEASES[family]
    return ImageTextCard(
        name=f"{family}-{variant}".lower(),
        family=family,
        paper=paper,
        summary=f"{family}-{variant}, trained on {training_data}",
        embed_dim=text.width,
        image=image,
        text=text,
        preprocessing=preprocessing,
        weights=_weights(f"{family}-{variant}", file, naming),
        results=results,
        aliases=aliases,
    )


_mobileclip = partial(_card, "MobileCLIP", naming="apple")
_mobileclip2 = partial(_card, "MobileCLIP2", naming="open_clip")

_L14_NOTE = "the published 304.3 M image parameters are 303.97 M in timm and open_clip"
_INFERRED = "the preprocessing is MobileCLIP2's of the same size; only mean and std were published"

TINY_FASTVITHD = ImageEncoderConfig(
    timm_name="fastvit_mci3",
    # Trained from scratch in minutes, which timm's layer scale of 1e-5 would slow down.
    overrides={
        "layers": (1, 1, 2, 1, 1),
        "embed_dims": (24, 48, 96, 192, 384),
        "layer_scale_init_value": 0.1,
    },
)
"""MCi3, which is FastViTHD, in small: the tower of mobileclip2-tiny and fastvlm-tiny."""
_TINY_TEXT = TextEncoderConfig(
    width=128,
    heads=4,
    blocks=("repmixer", "attention", "repmixer"),
    context_length=32,
    vocab_size=2048,
)

_TINY = ImageTextCard(
    name="mobileclip-tiny",
    family="MobileCLIP",
    paper=_RELEASES["MobileCLIP"][0],
    summary="1 M parameters for tests and the demo: MobileCLIP-S0's parts in small",
    embed_dim=128,
    image=ImageEncoderConfig(
        timm_name="fastvit_mci0",
        # Without the scale branch of the stem, as in MCi3 and MCi4.
        overrides={
            "layers": (1, 1, 2, 1),
            "embed_dims": (16, 32, 64, 128),
            "stem_use_scale_branch": False,
        },
    ),
    text=_TINY_TEXT,
    preprocessing=_plain(64),
)
_TINY2 = ImageTextCard(
    name="mobileclip2-tiny",
    family="MobileCLIP2",
    paper=_RELEASES["MobileCLIP2"][0],
    summary="4 M parameters for tests and the demo: MobileCLIP2-S3's parts in small",
    embed_dim=128,
    image=TINY_FASTVITHD,
    text=_TINY_TEXT,
    preprocessing=_plain(128),
)

CARDS: tuple[ImageTextCard, ...] = (
    _TINY,
    _TINY2,
    _mobileclip(
        "S0",
        _MCI0,
        _HYBRID_TEXT,
        _plain(256),
        _results(
            (11.4, 42.4), (1.5, 1.6), 67.8, 58.1, (67.68, 85.90), (40.44, 58.74), image_gmacs=2.4
        ),
        file="mobileclip_s0.pt",
    ),
    _mobileclip(
        "S1",
        _MCI1,
        _BASE_TEXT,
        _plain(256),
        _results(
            (21.5, 63.4), (2.5, 3.3), 72.6, 61.3, (70.96, 89.20), (44.02, 62.20), image_gmacs=4.7
        ),
        file="mobileclip_s1.pt",
    ),
    _mobileclip(
        "S2",
        _MCI2,
        _BASE_TEXT,
        _plain(256),
        _results(
            (35.7, 63.4), (3.6, 3.3), 74.4, 63.7, (73.38, 90.30), (45.37, 63.36), image_gmacs=7.8
        ),
        file="mobileclip_s2.pt",
    ),
    _mobileclip(
        "B",
        _VIT_B_APPLE,
        _CAUSAL_TEXT,
        _plain(224),
        _results((86.3, 63.4), (10.4, 3.3), 76.8, 65.2, (77.28, 91.40), (50.59, 68.84)),
        file="mobileclip_b.pt",
    ),
    _mobileclip(
        "B-LT",
        _VIT_B_APPLE,
        _CAUSAL_TEXT,
        _plain(224),
        _results(
            (86.3, 63.4),
            (10.4, 3.3),
            77.2,
            65.8,
            (76.88, 92.30),
            (50.03, 68.68),
            samples_seen_billions=36,
        ),
        file="mobileclip_blt.pt",
        aliases=("mobileclip-blt", "mobileclip-b(lt)"),
    ),
    _mobileclip(
        "S3",
        _MCI3,
        _LARGE_TEXT,
        _openai(256),
        _results(
            (125.1, 123.6), (8.0, 6.6), 78.3, 66.3, (77.94, 93.10), (51.29, 68.82), note=_INFERRED
        ),
        file="mobileclip_s3.pt",
        naming="open_clip",
    ),
    _mobileclip(
        "S4",
        _MCI4,
        _LARGE_TEXT,
        _openai(256),
        _results(
            (321.6, 123.6), (19.6, 6.6), 79.4, 68.1, (79.50, 94.90), (52.14, 70.28), note=_INFERRED
        ),
        file="mobileclip_s4.pt",
        naming="open_clip",
    ),
    _mobileclip(
        "L-14",
        _VIT_L,
        _LARGE_TEXT,
        _openai(224, "bicubic"),
        _results(
            (304.3, 123.6),
            (57.9, 6.6),
            79.5,
            66.9,
            (75.20, 91.30),
            (47.60, 66.46),
            note=f"{_L14_NOTE}; {_INFERRED}",
        ),
        file="mobileclip_l14.pt",
        naming="open_clip",
        aliases=("mobileclip-l14",),
    ),
    _mobileclip2(
        "S0",
        _MCI0,
        _BASE_TEXT,
        _plain(256),
        _results(
            (11.4, 63.4),
            (1.5, 3.3),
            71.5,
            59.7,
            (69.22, 86.60),
            (43.68, 62.68),
            image_gmacs=2.4,
            note="text figures are the paper's; the README repeats MobileCLIP-S0's there",
        ),
        file="mobileclip2_s0.pt",
    ),
    _mobileclip2(
        "S2",
        _MCI2,
        _BASE_TEXT,
        _plain(256),
        _results(
            (35.7, 63.4), (3.6, 3.3), 77.2, 64.1, (74.82, 90.40), (48.82, 66.70), image_gmacs=7.8
        ),
        file="mobileclip2_s2.pt",
    ),
    _mobileclip2(
        "B",
        _VIT_B_TIMM,
        _CAUSAL_TEXT,
        _plain(224),
        _results((86.3, 63.4), (10.4, 3.3), 79.4, 65.8, (76.50, 89.70), (49.90, 67.46)),
        file="mobileclip2_b.pt",
    ),
    _mobileclip2(
        "S3",
        _MCI3,
        _LARGE_TEXT,
        _openai(256),
        _results((125.1, 123.6), (8.0, 6.6), 80.7, 66.8, (77.26, 91.60), (50.92, 68.40)),
        file="mobileclip2_s3.pt",
    ),
    _mobileclip2(
        "S4",
        _MCI4,
        _LARGE_TEXT,
        _openai(256),
        _results((321.6, 123.6), (19.6, 6.6), 81.9, 67.5, (78.02, 92.40), (51.45, 69.34)),
        file="mobileclip2_s4.pt",
    ),
    _mobileclip2(
        "L-14",
        _VIT_L,
        _LARGE_TEXT,
        _openai(224, "bicubic"),
        _results(
            (304.3, 123.6),
            (57.9, 6.6),
            81.9,
            67.8,
            (77.70, 92.00),
            (51.64, 69.04),
            note=_L14_NOTE,
        ),
        file="mobileclip2_l14.pt",
        aliases=("mobileclip2-l14",),
    ),
)
