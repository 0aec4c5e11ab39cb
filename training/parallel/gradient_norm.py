"""The norm of a gradient that processes may hold in pieces, and clipping by it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, distributed, nn
from torch.distributed import ProcessGroup
from torch.distributed.tensor import DTensor
from torch.nn.utils import get_total_norm


def clip_gradients(
    parameters: Iterable[nn.Parameter], largest: float, group: ProcessGroup | None
) -> Tensor:
    """Scale all gradients so that their common norm is at most `largest`; return it as it was.

    Pieces of one gradient lie in the processes of `group` (DTensors), whole ones are the same in
    all of them. Returns a 0-dim tensor, the same in every process; nothing waits for the device.
    """
    gradients = [p.grad for p in parameters if p.grad is not None]
    whole = [g for g in gradients if not isinstance(g, DTensor)]
    pieces = [g.to_local() for g in gradients if isinstance(g, DTensor)]
    norm = get_total_norm(whole)
    if pieces:
        norm = torch.hypot(norm, _norm_of_pieces(pieces, group))
    scale = (largest / (norm + 1e-6)).clamp(max=1.0)
    torch._foreach_mul_(whole + pieces, scale)  # pyright: ignore[reportPrivateImportUsage]
    return norm


def _norm_of_pieces(pieces: Sequence[Tensor], group: ProcessGroup | None) -> Tensor:
    square = get_total_norm(pieces).square()
    distributed.all_reduce(square, group=group)
    return square.sqrt()
