"""Recipes of the training stages of a transfer; `zoo transfer` runs them one after another."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from zoo.training.recipes.recipe import Recipe


def task_distillation() -> Recipe:
    """A small tower learns what a teacher with a head says of a transfer set.

    Reproduces: the second step of task-oriented transfer (arXiv 2311.18237), small.
    Command: zoo train task-distillation --data POOL --head HEAD (`zoo transfer`
        makes the head)
    Cost: 400 steps of 128 samples; nobody has timed them.
    Expect: nothing is claimed; `zoo transfer` evaluates what it gives. It needs no label.
    """
    return Recipe(
        model="mobileclip-tiny",
        task="task-distillation",
        data="pool",
        head=Path("runs/transfer/teacher-head.safetensors"),
        output=Path("runs/task-distillation"),
        batch_size=128,
        samples_seen=51_200,
        learning_rate=2e-3,
        warmup_samples=2_560,
        weight_decay=0.05,
        channels_last=True,
    )


def feature_distillation() -> Recipe:
    """The same tower and samples, learning the teacher's features instead; the baseline.

    Reproduces: the task-agnostic baseline of arXiv 2311.18237, small.
    Command: zoo train feature-distillation --data POOL
    Cost: as task-distillation.
    Expect: nothing is claimed; `zoo transfer` evaluates what it gives.
    """
    return replace(
        task_distillation(),
        task="feature-distillation",
        head=None,
        output=Path("runs/feature-distillation"),
    )


def classification_head() -> Recipe:
    """A tower with a linear head is fine-tuned on labelled pictures.

    Reproduces: the last step of every transfer in arXiv 2311.18237, small.
    Command: zoo train classification-head --data LABELLED --init WEIGHTS --head HEAD (`zoo
        transfer` makes both)
    Cost: 50 steps of 128 samples; nobody has timed them.
    Expect: nothing is claimed; `zoo transfer` evaluates what it gives.
    """
    return replace(
        task_distillation(),
        task="classification-head",
        data="labelled",
        head=Path("runs/transfer/task-oriented/distillation/head.safetensors"),
        output=Path("runs/classification-head"),
        samples_seen=6_400,
        learning_rate=2e-4,
        warmup_samples=640,
    )
