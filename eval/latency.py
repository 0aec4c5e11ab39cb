"""Latency of a model's towers, variant against variant in the same process.

Each round times every variant once, so that a change in the machine's load falls on all of them;
wall time is given beside the processor time of the process, which other processes lengthen less.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from torch import Tensor, nn

from zoo.eval.macs import count_macs
from zoo.eval.memory import peak_activation_bytes
from zoo.eval.results import Record, result_record
from zoo.eval.timing import pass_seconds, torch_threads
from zoo.models.checkpoint import weights_sha256

if TYPE_CHECKING:
    from zoo.models.image_text_model import ImageTextModel

Part = Literal["image", "text"]
RoundCallback = Callable[[int, int], None]

MIN_ROUNDS = 5
_WARM_UP_ROUNDS = 2
_PROMPT = "a photo of a dog on the grass"


@dataclass(frozen=True, kw_only=True)
class LatencyRow:
    """Figures of one variant of one tower."""

    part: Part
    variant: str
    """`train-time` (branches unfused), `reparameterized`, or `reparameterized, channels last`."""
    batch_size: int
    input_size: int
    """Side of the picture in pixels, or tokens of the text."""
    threads: int
    rounds: int
    p50_ms: float
    """Median wall time of one forward pass."""
    p90_ms: float
    cpu_p50_ms: float
    """Median processor time of the process, over all its threads."""
    cpu_p90_ms: float
    parameters: int
    macs: int
    """Multiply-adds of the batch (`zoo.eval.macs`)."""
    activation_bytes: int
    """Peak of live activations (`zoo.eval.memory`)."""


UNITS = {
    "p50_ms": "ms",
    "p90_ms": "ms",
    "cpu_p50_ms": "ms",
    "cpu_p90_ms": "ms",
    "parameters": "count",
    "macs": "multiply-adds",
    "activation_bytes": "bytes",
}


@dataclass(frozen=True, kw_only=True)
class _Variant:
    part: Part
    name: str
    encoder: nn.Module
    example: Tensor


def measure_latency(
    model: ImageTextModel,
    *,
    threads: int = 1,
    rounds: int = 20,
    batch_size: int = 1,
    parts: Sequence[Part] = ("image", "text"),
    progress: RoundCallback | None = None,
) -> list[LatencyRow]:
    """Time the towers as they are, reparameterized, and (image) reparameterized in channels-last.

    Give a model loaded with `reparameterize=False`; where fusing changes nothing (a plain text
    tower, an already fused model) the train-time variant is left out. `progress` gets the rounds
    done and their number. The model and torch's thread count are as before afterwards.

    Raises:
        ValueError: fewer than 5 rounds (no spread can be given), no part, or a part, batch size or
            thread count that does not exist.
    """
    if rounds < MIN_ROUNDS:
        raise ValueError(f"{rounds} rounds give no spread: ask for at least {MIN_ROUNDS}.")
    if batch_size < 1 or threads < 1:
        raise ValueError(f"batch_size={batch_size} and threads={threads} must be at least 1.")
    if not parts or not set(parts) <= {"image", "text"}:
        raise ValueError(f"parts={tuple(parts)} must be one or both of 'image' and 'text'.")
    variants = [variant for part in parts for variant in _variants(model, part, batch_size)]
    with torch_threads(threads):
        timings = _interleaved(variants, rounds, progress)
        return [
            _row(variant, timing, threads)
            for variant, timing in zip(variants, timings, strict=True)
        ]


def latency_record(model: ImageTextModel, row: LatencyRow) -> Record:
    """The JSON-lines record of a row."""
    figures = asdict(row)
    metrics = {name: figures.pop(name) for name in UNITS}
    weight = next(model.parameters())
    return result_record(
        model=model.card.name,
        dataset="synthetic input",
        protocol={"task": "latency", "runtime": f"PyTorch eager, {weight.device}"} | figures,
        metrics=metrics,
        units=UNITS,
        weights_sha256=weights_sha256(model),
    )


def _variants(model: ImageTextModel, part: Part, batch_size: int) -> list[_Variant]:
    fused = model.reparameterize()
    example = _example(model, part, batch_size)
    encoder, fused_encoder = _encoder(model, part), _encoder(fused, part)
    variants = []
    if _parameters(encoder) != _parameters(fused_encoder):
        variants.append(_Variant(part=part, name="train-time", encoder=encoder, example=example))
    variants.append(
        _Variant(part=part, name="reparameterized", encoder=fused_encoder, example=example)
    )
    if part == "image":
        variants.append(
            _Variant(
                part=part,
                name="reparameterized, channels last",
                encoder=_channels_last(_encoder(model.reparameterize(), part)),
                example=example.contiguous(memory_format=torch.channels_last),
            )
        )
    return variants


def _encoder(model: ImageTextModel, part: Part) -> nn.Module:
    return model.image_encoder if part == "image" else model.text_encoder


def _channels_last(module: nn.Module) -> nn.Module:
    return module.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]


def _example(model: ImageTextModel, part: Part, batch_size: int) -> Tensor:
    weight = next(model.parameters())
    if part == "text":
        return model.tokenize([_PROMPT] * batch_size).to(weight.device)
    size = model.preprocessing.image_size
    return torch.rand(batch_size, 3, size, size).to(weight.device, weight.dtype)


def _interleaved(
    variants: Sequence[_Variant], rounds: int, progress: RoundCallback | None
) -> list[list[tuple[float, float]]]:
    """Wall and processor seconds of every variant in every round."""
    timings: list[list[tuple[float, float]]] = [[] for _ in variants]
    for done in range(-_WARM_UP_ROUNDS, rounds):
        for variant, timing in zip(variants, timings, strict=True):
            seconds = pass_seconds(variant.encoder, variant.example)
            if done >= 0:
                timing.append(seconds)
        if progress is not None and done >= 0:
            progress(done + 1, rounds)
    return timings


def _row(variant: _Variant, timing: Sequence[tuple[float, float]], threads: int) -> LatencyRow:
    milliseconds = np.array(timing) * 1e3  # (rounds, 2): wall, processor
    (p50, cpu_p50), (p90, cpu_p90) = np.percentile(milliseconds, [50, 90], axis=0)
    return LatencyRow(
        part=variant.part,
        variant=variant.name,
        batch_size=len(variant.example),
        input_size=variant.example.shape[-1],
        threads=threads,
        rounds=len(timing),
        p50_ms=float(p50),
        p90_ms=float(p90),
        cpu_p50_ms=float(cpu_p50),
        cpu_p90_ms=float(cpu_p90),
        parameters=_parameters(variant.encoder),
        macs=count_macs(variant.encoder, variant.example),
        activation_bytes=peak_activation_bytes(variant.encoder, variant.example),
    )


def _parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
