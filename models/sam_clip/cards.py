"""The cards of SAM-CLIP. No weights were published."""

from __future__ import annotations

from zoo.models.card import (
    ImageEncoderConfig,
    MaskDecoderConfig,
    SamClipCard,
    TextEncoderConfig,
)
from zoo.models.preprocess import IMAGENET_MEAN, IMAGENET_STD, Preprocessing

_FAMILY = "SAM-CLIP"
_PAPER = "arXiv 2310.15308"
_LAYER_NORM_EPS = 1e-6
"""SAM's (`build_sam.py`); timm's towers would take 1e-5."""


def _preprocessing(image_size: int) -> Preprocessing:
    # Both heads read one pass of the tower, so pictures are normalised as SAM's are: by ImageNet's
    # mean and deviation (`sam.py`), whatever the CLIP teacher takes.
    return Preprocessing(
        image_size=image_size,
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        interpolation="bicubic",
    )


CARDS: tuple[SamClipCard, ...] = (
    SamClipCard(
        name="sam-clip-tiny",
        family=_FAMILY,
        paper=_PAPER,
        summary="SAM-CLIP's parts in small, for tests and the tiny world",
        image=ImageEncoderConfig(
            timm_name="samvit_base_patch16",
            overrides={
                "img_size": 128,
                "patch_size": 8,
                "embed_dim": 128,
                "depth": 4,
                "num_heads": 4,
                "window_size": 7,
                "global_attn_indexes": (1, 3),
                "neck_chans": 64,
            },
            layer_norm_eps=_LAYER_NORM_EPS,
        ),
        preprocessing=_preprocessing(64),
        embed_dim=128,
        text=TextEncoderConfig(
            width=128,
            heads=4,
            blocks=("repmixer", "attention", "repmixer"),
            context_length=32,
            vocab_size=2048,
        ),
        width=128,
        stride=8,
        decoder=MaskDecoderConfig(width=64, heads=4, mlp_width=128, mask_channels=16, iou_width=64),
        mask_image_size=128,
        segmentation_image_size=64,
    ),
    SamClipCard(
        name="sam-clip-vit-b",
        family=_FAMILY,
        paper=_PAPER,
        summary="SAM ViT-B and a CLIP head on one pass, with ViT-L/14's text tower",
        image=ImageEncoderConfig(timm_name="samvit_base_patch16", layer_norm_eps=_LAYER_NORM_EPS),
        # 336 pixels: Table 6 settles what the body and the appendix say differently of Table 1.
        preprocessing=_preprocessing(336),
        embed_dim=768,
        text=TextEncoderConfig(width=768, heads=12, blocks=("attention",) * 12, causal=True),
        width=768,
        stride=16,
        mask_image_size=1024,
        segmentation_image_size=448,
        aliases=("sam-clip", "samclip"),
    ),
)
