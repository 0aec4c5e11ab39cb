"""What the FastVLM paper states of TTFT and accuracy, beside which ours are printed.

Its TTFT is `ttft_paper` on another machine: the tower as a Core ML package on the neural engine of
an M1 Max, and the prefill of the visual tokens by MLX in half precision on its GPU.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from zoo.eval.ttft.measure import TtftRow

TRANSFORMERS = "transformers FastVLM"
LLAVA_1_5 = "LLaVA-1.5"
SIGLIP_SO400M = "SigLIP-SO400M"
LLAVA_ONEVISION = "LLaVA-OneVision"
CONVNEXT_L = "ConvNeXt-L"
FASTVLM = "fastvlm-0.5b"

SOURCE = "arXiv 2412.13303 v2, figure 1a (Qwen2-0.5B, LLaVA-1.5's data), read off"

AVERAGE_5 = {
    (FASTVLM, 256): 48.4,
    (FASTVLM, 512): 52.5,
    (FASTVLM, 768): 54.5,
    (FASTVLM, 1024): 55.9,
    (LLAVA_1_5, 336): 47.3,
    (SIGLIP_SO400M, 384): 55.5,
    (CONVNEXT_L, 512): 52.2,
}
"""Per cent: the mean of GQA, TextVQA, POPE, DocVQA and SEED by tower and pixels; ± 0.1."""

TTFT_MS = {
    (FASTVLM, 256): 32.0,
    (FASTVLM, 512): 50.0,
    (FASTVLM, 768): 96.0,
    (FASTVLM, 1024): 167.0,
    (LLAVA_1_5, 336): 256.0,
    (SIGLIP_SO400M, 384): 535.0,
    (CONVNEXT_L, 512): 120.0,
}
"""`ttft_paper` of the same points; ± 3 ms."""

WHY_RATIOS_DIFFER = (
    "The paper's tower runs in half precision on a neural engine, which runs convolutions 30 to 60 "
    "times as fast as a CPU core and the transformers of the peers 25 to 32 times (reference: 7.1 "
    "CPU seconds against 116 ms for FastViTHD at 1024 pixels), and its MLX prefill of 7290 tokens "
    "costs far more per token than that of 256. On a CPU time follows the multiply-adds: 243 G for "
    "FastViTHD at 1024 pixels, 191 G for ViT-L/14 at 336, 333 G for SigLIP-SO400M at 384."
)


@dataclass(frozen=True, kw_only=True)
class Ratio:
    """A claim of the paper, and the same quotient of figures measured here."""

    claim: str
    published: float
    measured: float | None
    """None where one of the two was not measured."""


def ratios(rows: Sequence[TtftRow]) -> list[Ratio]:
    """Return the paper's two claims for Qwen2-0.5B, `ttft_paper` of both sides, wall time."""
    return [
        Ratio(
            claim="LLaVA-OneVision, 7290 tokens : FastVLM at 1024 pixels",
            published=14123.8 / 166.8,
            measured=_quotient(rows, LLAVA_ONEVISION, 1152),
        ),
        Ratio(
            claim="SigLIP-SO400M at 384 pixels : FastVLM at 1024 pixels",
            published=535.4 / 166.8,
            measured=_quotient(rows, SIGLIP_SO400M, 384),
        ),
    ]


def published_point(row: TtftRow) -> tuple[str, int] | None:
    """Return the key of a row in the tables above; None where nothing is published of it, and for
    transformers' FastVLM, whose accuracies are zoo's."""
    key = row.description.model, row.description.image_size
    # The language model is Qwen2-0.5B's shape: 24 layers of 896.
    return key if key in AVERAGE_5 and _is_small(row) else None


def _is_small(row: TtftRow) -> bool:
    return row.description.language_model.endswith("24×896")


def _quotient(rows: Sequence[TtftRow], peer: str, size: int) -> float | None:
    slow = _ttft_paper(rows, peer, size)
    fast = _ttft_paper(rows, FASTVLM, 1024)
    return slow / fast if slow and fast else None


def _ttft_paper(rows: Sequence[TtftRow], model: str, size: int) -> float | None:
    """Of the first row with a floating-point language model."""
    for row in rows:
        about = row.description
        is_it = (about.model, about.image_size) == (model, size)
        if is_it and about.dtype != "int8" and _is_small(row):
            return row.timings["ttft_paper"].p50
    return None
