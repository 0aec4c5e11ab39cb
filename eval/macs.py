"""Multiply-adds of a forward pass, counted by PyTorch's FLOP counter."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from zoo.eval.features import evaluation_mode


def count_macs(module: nn.Module, *example_inputs: Tensor) -> int:
    """Multiply-adds of `module(*example_inputs)` in eval mode, of the whole batch given.

    Counts convolutions and matrix products, those of attention included (a causal mask does not
    lower the count); not norms, activations and sums. This is the count of the MobileCLIP and
    FastViT papers, where 1 MAC is 2 FLOPs.
    """
    with evaluation_mode(module), _countable_attention(), FlopCounterMode(display=False) as counter:
        module(*example_inputs)
    return counter.get_total_flops() // 2


@contextmanager
def _countable_attention() -> Iterator[None]:
    """Attention as plain matrix products.

    In eval mode `nn.MultiheadAttention` and `nn.TransformerEncoderLayer` take a fused path that the
    counter does not know: their whole cost would read 0.
    """
    enabled = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(enabled)
