"""FastVLM's four stages in small, on conversations about tiny-world scenes: the demo's.

Here tower and language model begin with random weights, where the published ones were pretrained.
So the rates are those of training from scratch, and in stage 1.5 the tower trains with its branches
and its BatchNorm. From stage 2 on it stays as it is, its branches merged.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from zoo.training.recipes.recipe import Recipe
from zoo.training.vision_language.settings import VisionLanguage

_FROM_SCRATCH = VisionLanguage(
    tower="train-time", train_batch_norm=True, max_length=512, group_by_length=False
)
_LANGUAGE = replace(
    _FROM_SCRATCH, train="language", train_batch_norm=False, tower="reparameterized"
)


def fastvlm_tiny_stage1() -> Recipe:
    """fastvlm-tiny stage 1: the projector alone, on descriptions.

    Reproduces: stage 1 of FastVLM (arXiv 2412.13303, section 4), small. With random weights around
        it the projector can learn little; the stage is there to be complete.
    Command: zoo train fastvlm-tiny-stage1 (after `zoo demo` has written its data)
    Cost: 20 steps of 16 conversations, about 5 seconds on two cores.
    Expect: nothing by itself.
    """
    return _stage(
        "1",
        data="descriptions",
        steps=20,
        learning_rate=1e-3,
        settings=replace(_FROM_SCRATCH, train="projector", train_batch_norm=False),
    )


def fastvlm_tiny_stage1_5() -> Recipe:
    """fastvlm-tiny stage 1.5: the whole model, on dense descriptions, cell by cell.

    Reproduces: stage 1.5 of FastVLM, small; in place of the pretraining of tower and language
        model. Short texts show the tower many pictures.
    Command: zoo train fastvlm-tiny-stage1.5 --init RUN_OF_STAGE_1/weights.safetensors
    Cost: 400 steps of 16 conversations, about 4 minutes on one core.
    Expect: nothing by itself.
    """
    settings = replace(_FROM_SCRATCH, tower_learning_rate=3e-3)
    return _stage(
        "1.5", data="descriptions", steps=400, learning_rate=1e-3, settings=settings, after="1"
    )


def fastvlm_tiny_stage2() -> Recipe:
    """fastvlm-tiny stage 2: where each colour is, which there are not, and the ways between them.

    Reproduces: stage 2 of FastVLM, small, with the tower as stage 1.5 left it: a language model
        that learns to look for something needs a high rate, which would undo the tower, and many
        answers a step.
    Command: zoo train fastvlm-tiny-stage2 --init RUN_OF_STAGE_1.5/weights.safetensors
    Cost: 350 steps of 32 conversations, about 5 minutes on one core.
    Expect: see stage 3.
    """
    return _stage(
        "2",
        data="places",
        steps=350,
        batch_size=32,
        learning_rate=3e-3,
        settings=_LANGUAGE,
        after="1.5",
    )


def fastvlm_tiny_stage3() -> Recipe:
    """fastvlm-tiny stage 3: questions of every kind, among descriptions as of stage 2.

    Reproduces: stage 3 of FastVLM, small, with the tower as it is. With the descriptions in
        conversations of their own, it answers places and relations no better than by guessing among
        the occupied places (in as many steps).
    Command: zoo train fastvlm-tiny-stage3 --init RUN_OF_STAGE_2/weights.safetensors
    Cost: 350 steps of 16 conversations, about 12 minutes on one core.
    Expect: 0.83 of the questions about held-out scenes; 0.97 of places and 0.54 of relations
        (BENCHMARKS.md).
    """
    return _stage("3", data="all", steps=350, learning_rate=2e-3, settings=_LANGUAGE, after="2")


def _stage(
    stage: str,
    *,
    data: str,
    steps: int,
    learning_rate: float,
    batch_size: int = 16,
    after: str | None = None,
    settings: VisionLanguage = _FROM_SCRATCH,
) -> Recipe:
    """`data`: what the demo writes; `after`: the stage whose weights it begins with."""
    samples = steps * batch_size
    return Recipe(
        model="fastvlm-tiny",
        task="visual-instruction",
        data=f"demo/data/{data}",
        output=_run(stage),
        init=None if after is None else _run(after) / "weights.safetensors",
        batch_size=batch_size,
        samples_seen=samples,
        warmup_samples=samples // 20,
        learning_rate=learning_rate,
        min_learning_rate=0.2 * learning_rate,
        weight_decay=0.05,
        channels_last=True,
        checkpoint_every=100,
        vision_language=settings,
    )


def _run(stage: str) -> Path:
    return Path(f"runs/fastvlm-tiny-stage{stage}")
