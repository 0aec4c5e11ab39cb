"""Recipes for this machine: the demo's, and small runs on real photographs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from zoo.models.class_names import DEFAULT_TEMPLATES
from zoo.reinforced_data.augmentation.policy import AugmentationPolicy
from zoo.training.recipes.recipe import Recipe

# Stronger crops would cut the objects that a caption names, and colour operations its colours.
_TINY_WORLD_AUGMENTATION = AugmentationPolicy(scale=(0.8, 1.0), num_ops=0)

CIFAR10_TEMPLATES = (
    "a photo of a {}.",
    "a small photo of a {}.",
    "a blurry photo of a {}.",
    "a picture of a {}.",
    "there is a {} in this photo.",
    "a close-up of a {}.",
)
# Pictures of 32 pixels are small already; strong colour operations would leave little of them.
_CIFAR10_AUGMENTATION = AugmentationPolicy(scale=(0.4, 1.0), flip_probability=0.5, num_ops=0)


def tiny_teacher() -> Recipe:
    """A teacher for the tiny world: mobileclip-tiny on captions, with more samples than a student.

    Reproduces: nothing published; it is the teacher of `make demo`.
    Command: zoo train tiny-teacher (after `zoo demo` has written its data)
    Cost: 400 steps of 128 samples, about 2 minutes on two cores.
    Expect: 42 % top-1 of 64 classes on the demo's test scenes (BENCHMARKS.md).
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
    Expect: 8 to 10 % top-1 of 64 classes on the demo's test scenes (3 seeds, BENCHMARKS.md).
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


def cifar10() -> Recipe:
    """mobileclip-tiny on CIFAR-10's labels, through the names of the classes; a teacher.

    Reproduces: nothing published; it is the teacher of `zoo bench efficiency`.
    Command: zoo train cifar10 --data cifar10/train --classes cifar10/classnames.txt
    Cost: 2,500 steps of 128 samples, about 10 minutes on two cores.
    Expect: 64 % top-1 on the validation pictures (one run, BENCHMARKS.md).
    """
    return Recipe(
        model="mobileclip-tiny",
        task="classification",
        data="cifar10/train",
        output=Path("runs/cifar10"),
        batch_size=128,
        samples_seen=320_000,
        learning_rate=3e-3,
        warmup_samples=2_560,
        augmentation=_CIFAR10_AUGMENTATION,
        templates=CIFAR10_TEMPLATES,
        pixels="fast",
        channels_last=True,
        checkpoint_every=250,
    )


def cifar10_plain() -> Recipe:
    """A student that sees few of CIFAR-10's pictures, with captions as unreliable as the web's.

    Reproduces: plain CLIP training (arXiv 2103.00020), small.
    Command: zoo train cifar10-plain --data SHARDS (those that `zoo bench efficiency` writes)
    Cost: 500 steps of 128 samples, 2 to 3 minutes on two cores.
    Expect: 17 to 21 % top-1 (3 seeds, BENCHMARKS.md).
    """
    return replace(
        cifar10(),
        task="contrastive",
        data="efficiency/students",
        output=Path("runs/cifar10-plain"),
        samples_seen=64_000,
        warmup_samples=1_280,
        templates=DEFAULT_TEMPLATES,
        checkpoint_every=25,
    )


def cifar10_reinforced() -> Recipe:
    """The same student on the same pictures and captions, learning from what the sidecars store.

    Reproduces: multi-modal reinforced training (arXiv 2311.17049, section 4), small.
    Command: zoo train cifar10-reinforced --data SHARDS (those of `zoo bench efficiency`)
    Cost: 500 steps of 128 samples, about 4 minutes on two cores.
    Expect: 26 % top-1 with --samples-seen 12800 (3 seeds, BENCHMARKS.md); all of it was not run.
    """
    return replace(cifar10_plain(), task="reinforced", output=Path("runs/cifar10-reinforced"))
