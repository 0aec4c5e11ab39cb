"""The cards of SAM-CLIP. No weights were published."""

from __future__ import annotations

from zoo.models.card import (
    ImageEncoderConfig,
    MaskDecoderConfig,
    PublishedSamClipResults,
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
        paper_results=PublishedSamClipResults(
            source="arXiv 2310.15308, tables 1, 2, 5 and 6",
            figures={
                "ImageNet zero-shot": "71.7 % at 224 pixels, 72.4 % at 336",
                "R@1 text → image": "Flickr30k 79.2 %, COCO 49.3 %",
                "instance masks of boxes": "COCO 40.9 AP, LVIS 35.0 AP; SAM 41.2 and 36.8",
                "zero-shot segmentation": "mIoU, CLIP head at 448 pixels: VOC 60.6, Context 29.2, "
                "ADE20k 17.1, COCO-Stuff 31.5, COCO-Panoptic 28.8",
                "with refinement": "VOC 66.0 mIoU, both heads at 1024 pixels",
            },
        ),
        aliases=("sam-clip", "samclip"),
    ),
)
