"""Recipes of the other objectives: SigLIP, ALIP, prefix conditioning and CoCa."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from zoo.training.recipes.recipe import Recipe
from zoo.training.recipes.small import flickr1k


def siglip() -> Recipe:
    """mobileclip-tiny with SigLIP's sigmoid loss on some hundred real photographs.

    Reproduces: SigLIP's loss (arXiv 2303.15343), nothing of its scale.
    Command: zoo train siglip --data SHARDS
    Cost: 160 steps of 128 samples, as flickr1k.
    Expect: a loss below chance, which is 1 + ln 128 = 5.85. A fourth of the run is not enough:
        with --samples-seen 5120 --warmup-samples 1280 it is 6.42, 5.89 and 5.85 at the steps 5, 20
        and 40 (flickr1k, one run).
    """
    return replace(flickr1k(), task="sigmoid", output=Path("runs/siglip"))


def alip() -> Recipe:
    """mobileclip-tiny with ALIP's gates on two captions of some hundred real photographs.

    Reproduces: ALIP (arXiv 2308.08428), nothing of its scale: there a ViT-B/32 sees YFCC15M 32
        times in batches of 4,096 and comes to 40.3 % on ImageNet, plain CLIP to 32.8 %.
    Command: zoo train alip --data SHARDS (after `zoo reinforce SHARDS --captioner …`)
    Cost: 160 steps of 128 samples, as flickr1k.
    Expect: losses that first rise, as the gates open, then fall: with --samples-seen 5120
        --warmup-samples 1280 their sum is 1.8, 7.3 and 3.7 at the steps 5, 15 and 40 (flickr1k, one
        run, where two more captions of each photograph stood for synthetic ones).
    """
    return replace(flickr1k(), task="gated", output=Path("runs/alip"), betas=(0.9, 0.98))


def prefix() -> Recipe:
    """mobileclip-tiny with a prefix token that tells ground-truth from synthetic captions.

    Reproduces: prefix conditioning (arXiv 2206.01125), nothing of its scale; there the kinds are
        captions and prompts made of class names.
    Command: zoo train prefix --data SHARDS (after `zoo reinforce SHARDS --captioner …`)
    Cost: 160 steps of 128 samples, as flickr1k.
    Expect: both losses below chance, which is ln 128 = 4.85: with --samples-seen 5120
        --warmup-samples 1280 they end at 4.74 and 4.75 (flickr1k, one run, captions as for alip).
    """
    return replace(flickr1k(), task="prefix", output=Path("runs/prefix"))


def captioner() -> Recipe:
    """A CoCa that learns to caption, for `zoo reinforce --captioner open_clip:MODEL@WEIGHTS`.

    Reproduces: CoCa's losses and their weights (arXiv 2205.01917). The captioners of MobileCLIP2
        (arXiv 2508.20691) are such a model fine-tuned on few good captions: --model coca_ViT-L-14
        --init FILE, its published weights, with a far lower learning rate.
    Command: zoo train captioner --data SHARDS; for a small one --model local-dir:FOLDER, where
        FOLDER/open_clip_config.json describes it. Put its weights.safetensors into FOLDER as well,
        and the captioner is open_clip:local-dir:FOLDER.
    Cost: a GPU's work: coca_ViT-B-32 has 254 million parameters.
    Expect: a caption loss that falls from 2 ln 49408 = 21.6: a CoCa of 64 pixels and three layers
        of width 128 in each part is at 19.9, 13.9 and 11.3 after 5, 20 and 35 steps on flickr1k
        (one run).
    """
    return Recipe(
        model="coca_ViT-B-32",
        task="captioning",
        data="flickr1k/train",
        output=Path("runs/captioner"),
        batch_size=32,
        samples_seen=1_920,
        learning_rate=1e-3,
        warmup_samples=320,
        weight_decay=0.1,
        checkpoint_every=60,
    )
