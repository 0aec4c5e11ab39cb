"""SAM-CLIP's stages in small, and the SAM that they begin with, on the tiny world.

`zoo bench merging` writes their data, trains both teachers and asks them. The stages are the
paper's (arXiv 2310.15308, section 3.3); the rates are those of towers that have seen thousands of
pictures, not millions.
"""

from __future__ import annotations

from pathlib import Path

from zoo.training.recipes.recipe import Recipe
from zoo.training.sam_clip.settings import SamClip

_WORLD = Path("merging")
_SAM = _WORLD / "runs/sam/weights.safetensors"
_TEXT = f"zoo:mobileclip-tiny@{_WORLD / 'runs/clip/weights.safetensors'}"
_BATCH = 32
_SIZES = (64, 96)
"""Of the CLIP stream; masks have 128 pixels, as the card says."""


def sam_clip_tiny_sam() -> Recipe:
    """A SAM for the tiny world: sam-clip-tiny's tower and mask decoder, on the scenes' own masks.

    Reproduces: Segment Anything's training (arXiv 2304.02643, appendix A), small, with a prompt
        and its own answer as a second one, instead of eleven.
    Command: zoo train sam-clip-tiny-sam --data SHARDS (after `zoo reinforce masks SHARDS
        --teacher truth:sam-clip-tiny`)
    Cost: 900 steps of 4 pictures with 6 prompts, about 3 minutes on two cores.
    Expect: 0.9 mask IoU (BENCHMARKS.md, `zoo bench merging`).
    """
    return Recipe(
        model="sam-clip-tiny",
        task="sam-clip",
        data=str(_WORLD / "data/sam"),
        output=Path("runs/sam-clip-tiny-sam"),
        batch_size=4,
        samples_seen=3_600,
        warmup_samples=180,
        learning_rate=1e-3,
        weight_decay=0.05,
        checkpoint_every=300,
        sam_clip=SamClip(train="masks", masks_per_image=6),
    )


def sam_clip_tiny_stage1() -> Recipe:
    """sam-clip-tiny stage 1: the CLIP head alone, on SAM's tower as it is.

    Reproduces: head probing, small.
    Command: zoo train sam-clip-tiny-stage1 (after `zoo bench merging` has made its data)
    Cost: 200 steps of 32 pictures, about a minute on two cores.
    Expect: half of the CLIP teacher's accuracy or more.
    """
    settings = SamClip(train="head", sam=_SAM, text=_TEXT, image_sizes=_SIZES)
    return _stage("1", steps=200, learning_rate=2e-3, settings=settings)


def sam_clip_tiny_stage2() -> Recipe:
    """sam-clip-tiny stage 2: head, tower and mask decoder, from both teachers at once.

    Reproduces: multi-task distillation, small, with the paper's λ of 10.
    Command: zoo train sam-clip-tiny-stage2 --init RUN_OF_STAGE_1/weights.safetensors
    Cost: 1,000 steps of 32 pictures and 2 with masks, about 7 minutes on two cores.
    Expect: see stage 3.
    """
    settings = SamClip(
        train="all",
        mask_data=str(_WORLD / "data/masks"),
        mask_batch_size=2,
        masks_per_image=6,
        image_sizes=_SIZES,
        learning_rate_scale=0.25,
    )
    return _stage("2", steps=1000, learning_rate=2e-3, settings=settings, after="1")


def sam_clip_tiny_stage3() -> Recipe:
    """sam-clip-tiny stage 3: the CLIP head learns the size that masks are made at.

    Reproduces: resolution adaptation, small.
    Command: zoo train sam-clip-tiny-stage3 --init RUN_OF_STAGE_2/weights.safetensors
    Cost: 400 steps of 32 pictures, about 3 minutes on two cores.
    Expect: the figures of `zoo bench merging` (BENCHMARKS.md).
    """
    settings = SamClip(train="head", image_sizes=(*_SIZES, 128))
    return _stage("3", steps=400, learning_rate=1e-3, settings=settings, after="2")


def _stage(
    stage: str, *, steps: int, learning_rate: float, settings: SamClip, after: str | None = None
) -> Recipe:
    """`after`: the stage whose weights it begins with."""
    samples = steps * _BATCH
    return Recipe(
        model="sam-clip-tiny",
        task="sam-clip",
        data=str(_WORLD / "data/pictures"),
        output=_run(stage),
        init=None if after is None else _run(after) / "weights.safetensors",
        batch_size=_BATCH,
        samples_seen=samples,
        warmup_samples=samples // 20,
        learning_rate=learning_rate,
        weight_decay=0.05,
        checkpoint_every=100,
        sam_clip=settings,
    )


def _run(stage: str) -> Path:
    return Path(f"runs/sam-clip-tiny-stage{stage}")
