"""Where a step's time goes, by kind of operation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

# Kind -> parts of the names of torch's operations; the first kind that fits takes it.
KINDS = {
    "convolution, backward": ("conv2d_backward", "convolution_backward", "thnn_conv"),
    "convolution, forward": ("convolution", "conv2d"),
    "BatchNorm and LayerNorm": ("batch_norm", "layer_norm"),
    "GELU": ("gelu",),
    "attention": ("scaled_dot_product",),
    "optimizer": ("adam", "addcdiv", "lerp"),
    "matrix products": ("aten::mm", "addmm", "bmm", "matmul"),
    "compiled kernels": ("graph_", "cpp_fused", "triton", "Compiled"),
    "copies and fills": ("copy_", "fill_", "zero_", "aten::cat", "clone"),
}
ELEMENTWISE = "sums, products and the rest"


@dataclass(frozen=True)
class ProfileRow:
    """One kind of operation."""

    kind: str
    seconds: float
    """Of its own, on the device that computes."""
    share: float
    """Of all, 0…1."""
    calls: int


def profile_step(step: Callable[[], object], device: torch.device) -> list[ProfileRow]:
    """Run `step` twice, the second time under torch's profiler; the longest kind comes first."""
    from torch.profiler import ProfilerActivity, profile

    on_gpu = device.type == "cuda"
    activities = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * on_gpu
    step()
    with profile(activities=activities) as recorded:
        step()
    seconds: dict[str, float] = {}
    calls: dict[str, int] = {}
    for event in recorded.key_averages():
        kind = _kind(event.key)
        seconds[kind] = seconds.get(kind, 0.0) + _own_time(event, on_gpu)
        calls[kind] = calls.get(kind, 0) + event.count
    total = sum(seconds.values())
    rows = [ProfileRow(kind, own, own / total, calls[kind]) for kind, own in seconds.items()]
    return sorted(rows, key=lambda row: -row.seconds)


def _kind(operation: str) -> str:
    for kind, parts in KINDS.items():
        if any(part.lower() in operation.lower() for part in parts):
            return kind
    return ELEMENTWISE


def _own_time(event: Any, on_gpu: bool) -> float:
    return (event.self_device_time_total if on_gpu else event.self_cpu_time_total) / 1e6
