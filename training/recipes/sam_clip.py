"""SAM-CLIP's stages, with the values of its paper (arXiv 2310.15308 v4, section 3.3, appendix A).

The paper gives data, epochs, batches, learning rates and λ. What it leaves open is here as in our
recipes for MobileCLIP (weight decay 0.2, a cosine to 0, gradients clipped at 1) but for β of 0.9
and 0.999, with a warm-up of 2 % of the samples. Its CLIP teacher is open_clip's ViT-L-14 of
DataComp-1B, its SAM teacher ViT-B; both ran in training there, here they have spoken before:

    zoo reinforce PICTURES --teacher clip=open_clip:ViT-L-14@datacomp_xl_s13b_b90k
    zoo reinforce masks SA1B --teacher sam:sam-clip-vit-b@sam_vit_b_01ec64.pth

So a picture is seen in one of its stored augmentations. CVNets' sampler gives small pictures larger
batches; here a batch has 2,048 pictures at every size.

None of these runs was made here: there was neither the data nor a GPU for days. Several GPUs:
torchrun --nproc-per-node 8 --no-python zoo train …
"""

from __future__ import annotations

from pathlib import Path

from zoo.training.recipes.recipe import Recipe
from zoo.training.sam_clip.settings import SamClip

_PICTURES = 40_600_000
"""CC3M, CC12M, YFCC-15M and ImageNet-21k without captions."""
_BATCH = 2_048
_WARM_UP = 0.02
_TEXT = "open_clip:ViT-L-14@datacomp_xl_s13b_b90k"
_SAM = Path("sam_vit_b_01ec64.pth")


def sam_clip_stage1() -> Recipe:
    """SAM-CLIP stage 1: the CLIP head alone, on SAM's tower as it is.

    Reproduces: head probing: 20 epochs of 40.6 M pictures, 8e-4, at 224 and 448 pixels.
    Command: zoo train sam-clip-stage1 --data PICTURES --device cuda
        --sam-clip.sam sam_vit_b_01ec64.pth
    Cost: 396,484 steps of 2,048 pictures; the paper's machines were 4 times 8 A100, without hours;
        not run here.
    Expect: nothing by itself; the paper gives no figure between its stages.
    """
    return _stage(
        "1",
        epochs=20,
        learning_rate=8e-4,
        settings=SamClip(train="head", sam=_SAM, text=_TEXT, image_sizes=(224, 448)),
    )


def sam_clip_stage2() -> Recipe:
    """SAM-CLIP stage 2: head, tower and mask decoder, from both teachers at once.

    Reproduces: multi-task distillation: 16 epochs (of 20, where COCO's masks were forgotten more),
        4e-5, a tenth of it for tower and mask decoder; each step 2,048 pictures at 224 or 448
        pixels and 32 of SA-1B at 1024 with 32 masks each, λ = 10.
    Command: zoo train sam-clip-stage2 --data PICTURES --sam-clip.mask-data SA1B --device cuda
        --init runs/sam-clip-stage1/weights.safetensors
    Cost: 317,187 steps; not stated by the paper; not run here.
    Expect: 71.7 % zero-shot ImageNet top-1 at 224 pixels and 72.4 % at 336, 40.9 mAP of COCO's
        instances from ViTDet-B's boxes, 60.6 mIoU on VOC at 448 (tables 1, 2 and 6, after all
        stages).
    """
    return _stage(
        "2",
        epochs=16,
        learning_rate=4e-5,
        after="1",
        settings=SamClip(train="all", mask_data="sa1b/*.tar", image_sizes=(224, 448)),
    )


def sam_clip_stage3() -> Recipe:
    """SAM-CLIP stage 3: the CLIP head learns the size that masks are made at.

    Reproduces: resolution adaptation: 3 epochs, 8e-4, the CLIP head alone at 224, 448 and 1024.
    Command: zoo train sam-clip-stage3 --data PICTURES --device cuda
        --init runs/sam-clip-stage2/weights.safetensors
    Cost: 59,472 steps; not stated by the paper; not run here.
    Expect: 66.0 mIoU on VOC with both heads at 1024 pixels (table 5).
    """
    return _stage(
        "3",
        epochs=3,
        learning_rate=8e-4,
        after="2",
        settings=SamClip(train="head", image_sizes=(224, 448, 1024)),
    )


def _stage(
    stage: str,
    *,
    epochs: int,
    learning_rate: float,
    settings: SamClip,
    after: str | None = None,
) -> Recipe:
    """`after`: the stage whose weights it begins with."""
    samples = epochs * _PICTURES
    return Recipe(
        model="sam-clip-vit-b",
        task="sam-clip",
        data="pictures/*.tar",
        output=_run(stage),
        init=None if after is None else _run(after) / "weights.safetensors",
        batch_size=_BATCH,
        samples_seen=samples,
        warmup_samples=round(_WARM_UP * samples),
        learning_rate=learning_rate,
        betas=(0.9, 0.999),
        precision="bfloat16",
        activation_checkpointing=True,
        workers=8,
        checkpoint_every=1_000,
        sam_clip=settings,
    )


def _run(stage: str) -> Path:
    return Path(f"runs/sam-clip-stage{stage}")
