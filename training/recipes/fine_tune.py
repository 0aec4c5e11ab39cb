"""Recipes that start from a trained model and end with one for your own pictures.

The figures were measured from a tiny model trained here; nothing is measured of published ones.

`--data` takes shards, or a folder or table of pictures as `zoo data pack` does. `zoo interpolate`
goes part of the way back afterwards, which as a rule keeps more of what the model knew.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from zoo.reinforced_data.augmentation.policy import AugmentationPolicy
from zoo.training.fine_tuning.settings import FineTuning
from zoo.training.recipes.recipe import Recipe

# Mild: a caption of one's own often names what a strong crop cuts away.
_AUGMENTATION = AugmentationPolicy(scale=(0.5, 1.0), num_ops=0)


def fine_tune() -> Recipe:
    """A published model on your own pictures: all of it, lower layers slower.

    Reproduces: nothing published; layer decay as in BEiT (arXiv 2106.08254).
    Command: zoo train fine-tune --data PICTURES
        (labelled pictures: add --task classification)
    Cost: 100 steps of 64 samples, at the speed of training the model.
    Expect: 53 % of new classes (16 % before) and 51 % of old
        ones (57 %) with mobileclip-tiny on cifar10, 80 steps; half-way back (alpha 0.5) 38 and 54 %
        (5 classes each, one run, learning rate 5e-4).
    """
    return Recipe(
        model="mobileclip2-s0",
        init="published",
        data="pictures",
        output=Path("runs/fine-tune"),
        batch_size=64,
        samples_seen=6_400,
        learning_rate=2e-5,
        weight_decay=0.1,
        warmup_samples=640,
        augmentation=_AUGMENTATION,
        checkpoint_every=50,
        fine_tuning=FineTuning(layer_decay=0.75),
    )


def fine_tune_last() -> Recipe:
    """A published model on your own pictures: the last block of each tower and what follows it.

    Reproduces: nothing published.
    Command: zoo train fine-tune-last --data PICTURES
        (labelled pictures: add --task classification)
    Cost: 100 steps of 64 samples, at the speed of training the model.
    Expect: 50 % of new classes (16 % before) and 25 % of old
        ones (57 %) with mobileclip-tiny on cifar10, 80 steps; half-way back (alpha 0.5) 38 and 50 %
        (5 classes each, one run, learning rate 1e-3).
    """
    return replace(
        fine_tune(),
        output=Path("runs/fine-tune-last"),
        learning_rate=1e-4,
        fine_tuning=FineTuning(train="last"),
    )


def fine_tune_lora() -> Recipe:
    """A published model on your own pictures: low-rank adapters, merged at the end.

    Reproduces: nothing published; LoRA (arXiv 2106.09685) on both towers.
    Command: zoo train fine-tune-lora --data PICTURES
        (labelled pictures: add --task classification)
    Cost: 100 steps of 64 samples, at the speed of training the model.
    Expect: 46 % of new classes (16 % before) and 41 % of old
        ones (57 %) with mobileclip-tiny on cifar10, 80 steps; half-way back (alpha 0.5) 47 and 55 %
        (5 classes each, one run, learning rate 2e-3).
    """
    return replace(
        fine_tune(),
        output=Path("runs/fine-tune-lora"),
        learning_rate=5e-4,
        weight_decay=0.0,
        fine_tuning=FineTuning(train="lora"),
    )
