"""Recipes for this machine: the demo's, and small runs on real photographs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from zoo.reinforced_data.augmentation.policy import AugmentationPolicy
from zoo.training.recipes.recipe import Recipe

# Stronger crops would cut the objects that a caption names, and colour operations its colours.
_TINY_WORLD_AUGMENTATION = AugmentationPolicy(scale=(0.8, 1.0), num_ops=0)


def tiny_teacher() -> Recipe:
    """A teacher for the tiny world: mobileclip-tiny on captions, with more samples than a student.

    Reproduces: nothing published; it is the teacher of `make demo`.
    Command: zoo train tiny-teacher (after `zoo demo` has written its data)
    Cost: 400 steps of 128 samples, about 2 minutes on two cores.
    Expect: 50 % top-1 of 64 classes on the demo's test scenes (one run, BENCHMARKS.md).
    """
    return Recipe(
        model="mobileclip-tiny",
        data="demo/data/teacher",
        output=Path("runs/tiny-teacher"),
        batch_size=128,
        samples_seen=51_200,
        learning_rate=2e-3,
        augmentation=_TINY_WORLD_AUGMENTATION,
        channels_last=True,
        warmup_samples=2_560,
        checkpoint_every=100,
    )


def tiny_plain() -> Recipe:
    """A student that sees the tiny world's pictures and captions only; the control run.

    Reproduces: plain CLIP training (arXiv 2103.00020), small.
    Command: zoo train tiny-plain (after `zoo demo` has written its data)
    Cost: 128 steps of 128 samples, about 40 seconds on two cores.
    Expect: 6 to 7 % top-1 of 64 classes on the demo's test scenes (3 seeds, BENCHMARKS.md).
    """
    return replace(
        tiny_teacher(),
        data="demo/data/student",
        output=Path("runs/tiny-plain"),
        samples_seen=16_384,
    )


def tiny_reinforced() -> Recipe:
    """The same student and the same samples seen, learning from what the sidecars store.

    Reproduces: multi-modal reinforced training (arXiv 2311.17049, section 4), small.
    Command: zoo train tiny-reinforced (after `zoo demo` has written and reinforced its data)
    Cost: 128 steps of 128 samples, about 50 seconds on two cores.
    Expect: 15 to 25 % top-1 of 64 classes on the same scenes (3 seeds, BENCHMARKS.md).
    """
    return replace(tiny_plain(), task="reinforced", output=Path("runs/tiny-reinforced"))


def flickr1k() -> Recipe:
    """mobileclip-tiny on some hundred real photographs; the shortest run on real data.

    Reproduces: nothing published; too few photographs to generalise, enough to see it learn.
    Command: zoo train flickr1k --data SHARDS (after `zoo reinforce SHARDS …`);
        plain: add --task contrastive
    Cost: 160 steps of 128 samples, about 70 seconds on two cores.
    Expect: a falling loss; nothing is claimed of held-out photographs.
    """
    return replace(
        tiny_reinforced(),
        data="flickr1k/train",
        output=Path("runs/flickr1k"),
        augmentation=AugmentationPolicy(),
        samples_seen=20_480,
    )
