"""FastVLM's stages, with the values of its paper (arXiv 2412.13303 v2, section 4, tables 8 and 9).

Common to all: AdamW without weight decay, a cosine after a warm-up of 3 % of the samples, one pass
over the data. What the paper leaves open is LLaVA's, on whose code it was trained: β of 0.9 and
0.999, gradients clipped at 1, 8,192 tokens, pictures padded to squares, batches of like length.

None of these runs was made here: there was neither the data nor a GPU for days. The recipes are for
fastvlm-0.5b; `--model fastvlm-7b --vision-language.language-model Qwen/Qwen2-7B-Instruct` makes
the first stage of another. Several GPUs: torchrun --nproc-per-node 8 --no-python zoo train …
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from zoo.training.recipes.recipe import Recipe
from zoo.training.vision_language.settings import VisionLanguage

_WARM_UP = 0.03
_LLAVA_558K = 558_128
_DENSE_CAPTIONS = 15_000_000
_INSTRUCTIONS = 12_500_000
_MAMMOTH_VL = 10_600_000


def fastvlm_stage1() -> Recipe:
    """FastVLM stage 1: the projector learns to put pictures into the language model's words.

    Reproduces: stage 1 of FastVLM: 1e-3, batches of 256, the projector alone, LLaVA-1.5's 558K
        captions. There at 224 pixels and from a FastViTHD that was never published; here at 256
        and from MobileCLIP2-S3's tower, the same architecture trained on other data.
    Command: zoo train fastvlm-stage1 --data blip_laion_cc_sbu_558k.json --device cuda
        --vision-language.images images/ --vision-language.image-encoder mobileclip2_s3.pt
    Cost: 2,180 steps; about 30 minutes on 8 H100 with Qwen2-7B (the paper); not run here.
    Expect: nothing by itself; the paper gives no figure between its stages.
    """
    return _stage(
        output="fastvlm-stage1",
        data="blip_laion_cc_sbu_558k.json",
        batch_size=256,
        samples=_LLAVA_558K,
        learning_rate=1e-3,
        settings=VisionLanguage(
            train="projector",
            image_size=256,
            language_model="Qwen/Qwen2-0.5B-Instruct",
            group_by_length=False,
        ),
    )


def fastvlm_stage1_5() -> Recipe:
    """FastVLM stage 1.5: the whole model learns the target resolution from dense captions.

    Reproduces: stage 1.5 of FastVLM: 2e-5, batches of 128, the full model at 1024 pixels, captions
        of Recap-CC3M and Recap-CC12M; the picture before or after the question (appendix D.1).
    Command: zoo train fastvlm-stage1.5 --data recap.json --device cuda
        --init runs/fastvlm-stage1/weights.safetensors
    Cost: 117,187 steps; 77 hours on 8 H100 with Qwen2-7B (the paper); not run here.
    Expect: nothing by itself; the paper gives no figure between its stages.
    """
    return _stage(
        output="fastvlm-stage1.5",
        data="recap.json",
        init="fastvlm-stage1",
        samples=_DENSE_CAPTIONS,
        settings=VisionLanguage(image_size=1024, random_image_position=True),
    )


def fastvlm_stage2() -> Recipe:
    """FastVLM stage 2: visual instruction tuning of the whole model.

    Reproduces: stage 2 of FastVLM: 2e-5, batches of 128, the full model at 1024 pixels, its largest
        mix of 12.5 M conversations (appendix D.2); the published `stage=2` weights.
    Command: zoo train fastvlm-stage2 --data mix.json --device cuda
        --init runs/fastvlm-stage1.5/weights.safetensors; the mix of 1.1 M:
        --samples-seen 1100000 --warmup-samples 33000
    Cost: 97,656 steps; 8 hours for 1.1 M conversations on 8 H100 with Qwen2-7B (the paper); not
        run here.
    Expect: GQA 63.1, TextVQA 62.9, POPE 86.6, DocVQA 70.4 (table 6, 0.5B, stage 2).
    """
    return _stage(
        output="fastvlm-stage2",
        data="mix.json",
        init="fastvlm-stage1.5",
        samples=_INSTRUCTIONS,
        settings=VisionLanguage(image_size=1024),
    )


def fastvlm_stage3() -> Recipe:
    """FastVLM stage 3: more instructions of higher quality, with reasoning.

    Reproduces: stage 3 of FastVLM: as stage 2, on the single-image part of MAmmoTH-VL (10.6 M); the
        published `stage=3` weights.
    Command: zoo train fastvlm-stage3 --data mammoth_vl.json --device cuda
        --init runs/fastvlm-stage2/weights.safetensors
    Cost: 82,812 steps; not stated by the paper; not run here.
    Expect: GQA 62.7, TextVQA 65.8, POPE 86.2, DocVQA 79.1 (table 6, 0.5B, stage 3).
    """
    return _stage(
        output="fastvlm-stage3",
        data="mammoth_vl.json",
        init="fastvlm-stage2",
        samples=_MAMMOTH_VL,
        settings=VisionLanguage(image_size=1024),
    )


def fastvlm_lora() -> Recipe:
    """A published FastVLM on your own conversations: low-rank adapters, merged at the end.

    Reproduces: nothing published; LLaVA's LoRA run (finetune_lora.sh): 2e-4 for the adapters, 2e-5
        for the projector, with the rank of 64 of FastVLM's code (`train_qwen.py`).
    Command: zoo train fastvlm-lora --data conversations.json --vision-language.images pictures/
    Cost: 625 steps of 16 conversations at 1024 pixels; not run here.
    Expect: nothing is measured.
    """
    samples = 10_000
    return replace(
        fastvlm_stage2(),
        data="conversations.json",
        output=Path("runs/fastvlm-lora"),
        init="published",
        batch_size=16,
        samples_seen=samples,
        warmup_samples=round(_WARM_UP * samples),
        learning_rate=2e-4,
        precision="auto",
        workers=0,
        checkpoint_every=100,
        vision_language=VisionLanguage(
            train="lora", projector_learning_rate=2e-5, max_length=2_048
        ),
    )


def _stage(
    *,
    output: str,
    data: str,
    samples: int,
    settings: VisionLanguage,
    init: str | None = None,
    batch_size: int = 128,
    learning_rate: float = 2e-5,
) -> Recipe:
    """`init` names the run before."""
    return Recipe(
        model="fastvlm-0.5b",
        task="visual-instruction",
        data=data,
        output=Path("runs") / output,
        init=None if init is None else Path("runs") / init / "weights.safetensors",
        batch_size=batch_size,
        samples_seen=samples,
        warmup_samples=round(_WARM_UP * samples),
        learning_rate=learning_rate,
        weight_decay=0.0,
        betas=(0.9, 0.999),
        precision="bfloat16",
        activation_checkpointing=True,
        channels_last=True,
        workers=8,
        checkpoint_every=500,
        vision_language=settings,
    )
