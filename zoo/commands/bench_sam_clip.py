"""`zoo bench sam-clip`: one pass for words and masks, against SAM and a CLIP apart."""

from __future__ import annotations

import time
from pathlib import Path

from zoo.commands.bench import RESULTS
from zoo.commands.console import duration, say, show_table, status
from zoo.eval.results import append_result
from zoo.eval.segmentation.one_pass import OnePassRow, measure_one_pass, one_pass_record
from zoo.models.card import SamClipCard
from zoo.models.load import load_image_text_model
from zoo.models.registry import get_card_of
from zoo.models.sam_clip.load import load_sam_clip


def sam_clip(
    model: str = "sam-clip-vit-b",
    *,
    clip: str = "mobileclip2-b",
    image_size: int | None = None,
    clip_image_size: int | None = None,
    boxes: int = 8,
    device: str = "cpu",
    threads: int = 1,
    rounds: int = 5,
    quick: bool = False,
    results: Path = RESULTS,
) -> None:
    """Time a picture's feature and the masks of its boxes: of one pass, and of two models.

    Weights are random: time does not depend on them. The SAM apart is the same tower, prompt
    encoder and mask decoder, without the CLIP head.

    Args:
        model: a SAM-CLIP of `zoo list`.
        clip: the CLIP that stands beside SAM; mobileclip2-b's tower is a ViT-B/16, as CLIP's own.
        image_size: side in pixels of the picture that masks are decoded from; by default the size
            of the model's masks.
        clip_image_size: side in pixels of the picture that the CLIP apart sees; its own by default.
        boxes: that masks are decoded for.
        device: cpu, cuda, mps, or auto.
        threads: of the CPU.
        rounds: repetitions of every candidate.
        quick: sam-clip-tiny beside mobileclip-tiny, in seconds.
        results: file that the JSON lines are appended to.
    """
    if quick:
        model, clip = "sam-clip-tiny", "mobileclip-tiny"
    size = image_size or get_card_of(SamClipCard, model).mask_image_size
    status(f"building {model} and {clip}")
    merged = load_sam_clip(model, weights=None, device=device, image_size=size)
    apart = load_image_text_model(clip, weights=None, device=device, image_size=clip_image_size)
    start = time.monotonic()

    def progress(done: int, total: int) -> None:
        left = (time.monotonic() - start) / (done + 1) * (total - done)
        status(f"round {done}/{total}; {duration(left)} left")

    rows = measure_one_pass(
        merged, apart, boxes=boxes, threads=threads, rounds=rounds, progress=progress
    )
    for row in rows:
        append_result(results, one_pass_record(row))
    show_table(_COLUMNS, [_cells(row, rows[0]) for row in rows])
    say(
        f"{rows[0].model} at {rows[0].image_size} pixels and {boxes} boxes; {rows[0].clip} at "
        f"{rows[0].clip_image_size}; batch 1, {device}, {threads} threads, {rounds} rounds."
    )


_COLUMNS = ("", "p50 ms", "lowest…highest", "CPU ms", "CPU ratio", "M params", "peak MB")


def _cells(row: OnePassRow, first: OnePassRow) -> list[str]:
    return [
        row.candidate,
        f"{row.p50_ms:.1f}",
        f"{row.lowest_ms:.1f}…{row.highest_ms:.1f}",
        f"{row.cpu_p50_ms:.1f}",
        f"{row.cpu_p50_ms / first.cpu_p50_ms:.2f}",
        f"{row.parameters / 1e6:.2f}",
        f"{row.activation_bytes / 1e6:.1f}",
    ]
