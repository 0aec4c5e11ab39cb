"""What timings on any device need: a number of threads, and an end of the work to wait for."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from zoo.eval.features import evaluation_mode


def synchronize(device: torch.device) -> None:
    """Wait until an accelerator has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def pass_seconds(module: nn.Module, example: Tensor) -> tuple[float, float]:
    """Return the wall time and the processor time of one pass over `example`, in seconds."""
    with evaluation_mode(module):
        synchronize(example.device)
        wall, cpu = time.perf_counter(), time.process_time()
        module(example)
        synchronize(example.device)
        return time.perf_counter() - wall, time.process_time() - cpu


@contextmanager
def torch_threads(threads: int) -> Iterator[None]:
    """Torch on so many threads of the CPU, and as before afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
