"""MobileCLIP's and MobileCLIP2's own runs, with the values of their papers and scripts.

The papers are arXiv 2311.17049 and 2508.20691, the scripts those of ml-mobileclip (`training/`:
`run_datacompdr12m.sh`, `run_datacompdr1b.sh`, `run_dfndr2b.sh`), the figures those of its README.
The shards are Apple's, with the pictures that img2dataset fetches joined in.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from zoo.training.recipes.recipe import Recipe

_BATCH_12M = 8_192
_BATCH_1B = 65_536


def datacompdr_12m() -> Recipe:
    """MobileCLIP-B on DataCompDR-12M: the reinforced run that one machine can make.

    Reproduces: ml-mobileclip `run_datacompdr12m.sh` with the model of its second release: 30,000
        steps of 8,192, warm-up 1,000, 1e-3 to 0, weight decay 0.2, λ = 1, both captions, the
        stored augmentations alone.
    Command: zoo train datacompdr-12m --data SHARDS --device cuda, in 32 processes:
        torchrun --nnodes 4 --nproc-per-node 8 --no-python zoo train …
    Cost: 245.8 M samples; about a day on 8 A100 for ViT-B/16 (README of ml-mobileclip).
    Expect: 61.6 % zero-shot ImageNet top-1, 72.8 % Flickr30k, 53.5 % average of 38 data sets
        (arXiv 2508.20691, table 1, first row).
    """
    return Recipe(
        model="mobileclip-b",
        task="reinforced",
        data="datacompdr-12m/*.tar",
        published_set="datacompdr",
        output=Path("runs/datacompdr-12m"),
        batch_size=_BATCH_12M,
        samples_seen=30_000 * _BATCH_12M,
        warmup_samples=1_000 * _BATCH_12M,
        learning_rate=1e-3,
        weight_decay=0.2,
        betas=(0.9, 0.95),
        clip_norm=1.0,
        distillation_weight=1.0,
        precision="bfloat16",
        activation_checkpointing=True,
        channels_last=True,
        workers=8,
        checkpoint_every=1_500,
    )


def datacompdr_1b() -> Recipe:
    """MobileCLIP-S0 on DataCompDR-1B: the first release, as its paper trained it.

    Reproduces: arXiv 2311.17049, section 5 and appendix: 200,000 steps of 65,536, warm-up 2,000,
        1e-3 to 1e-6, weight decay 0.2, λ = 1, bfloat16, an average of the weights with decay
        0.9995. Left out: RangeAugment on top of the stored augmentations. MobileCLIP-S1 and -S2
        are like it; MobileCLIP-B has --distillation-weight 0.75.
    Command: zoo train datacompdr-1b --data SHARDS --device cuda, in 256 processes:
        torchrun --nnodes 32 --nproc-per-node 8 --no-python zoo train …
    Cost: 13.1 billion samples on 256 A100 (paper).
    Expect: 67.8 % zero-shot ImageNet top-1, 58.1 % average of 38 data sets (README).
    """
    return replace(
        datacompdr_12m(),
        model="mobileclip-s0",
        data="datacompdr-1b/{00..65}/*.tar",
        output=Path("runs/datacompdr-1b"),
        batch_size=_BATCH_1B,
        samples_seen=200_000 * _BATCH_1B,
        warmup_samples=2_000 * _BATCH_1B,
        min_learning_rate=1e-6,
        clip_norm=None,
        ema_decay=0.9995,
        activation_checkpointing=False,
        checkpoint_every=2_000,
    )


def dfndr_2b() -> Recipe:
    """MobileCLIP2-S0 on DFNDR-2B: the second release, as its paper trained it.

    Reproduces: arXiv 2508.20691, appendix: 200,000 steps of 65,536, warm-up 10,000 (2,000 for
        B, S3 and S4), 1e-3 to 0, weight decay 0.2, λ = 1, clipping to 1, bfloat16, no average. S3
        and S4 have --batch-size 114688 and as many steps.
    Command: zoo train dfndr-2b --data SHARDS --device cuda, in 256 processes:
        torchrun --nnodes 32 --nproc-per-node 8 --no-python zoo train …
    Cost: 13.1 billion samples on 256 A100 or 128 H100 (paper).
    Expect: 71.5 % zero-shot ImageNet top-1, 59.7 % average of 38 data sets (README).
    """
    return replace(
        datacompdr_1b(),
        model="mobileclip2-s0",
        data="dfndr-2b/*.tar",
        published_set="dfndr",
        output=Path("runs/dfndr-2b"),
        warmup_samples=10_000 * _BATCH_1B,
        min_learning_rate=0.0,
        clip_norm=1.0,
        ema_decay=None,
    )
