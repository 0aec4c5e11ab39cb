"""What the processes of a group tell each other; without a group, a process tells itself.

Every process calls these in the same order, with tensors of the same shape.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, distributed
from torch.autograd.function import once_differentiable
from torch.distributed import ProcessGroup, ReduceOp


def group_size(group: ProcessGroup | None) -> int:
    """Return how many processes share a batch."""
    return 1 if group is None else group.size()


def own_rows(count: int, group: ProcessGroup | None, device: torch.device) -> Tensor:
    """Return int64 (count,): where this process's rows are among the rows of all processes."""
    first = 0 if group is None else group.rank() * count
    return torch.arange(first, first + count, device=device)


def gather_rows(rows: Tensor, group: ProcessGroup | None) -> Tensor:
    """Return (world size · b, …): the rows (b, …) of all processes, in the order of their ranks.

    Differentiable: this process's rows get the sum of what every process asks of them.
    """
    return rows if group is None else _GatherRows.apply(rows, group)


def total(tensor: Tensor, group: ProcessGroup | None) -> Tensor:
    """Return the sum over all processes, the same in each.

    Differentiable as that: each of the equal sums counts. A loss that every process adds up so has
    gradients of world size times its own, which is what the mean over processes wants.
    """
    return tensor if group is None else _Total.apply(tensor, group)


@torch.no_grad()
def total_logsumexp(values: Tensor, group: ProcessGroup | None) -> Tensor:
    """Return log Σ exp(values) over all processes, entry by entry. Not differentiable."""
    if group is None:
        return values
    highest = values.clone()
    distributed.all_reduce(highest, ReduceOp.MAX, group=group)
    return _sum((values - highest).exp(), group).log() + highest


@torch.no_grad()
def sum_of_own_rows(rows: Tensor, group: ProcessGroup | None) -> Tensor:
    """Return (b, …): of rows (world size · b, …), the sum over processes of those of this one."""
    if group is None:
        return rows
    own = rows.new_empty(len(rows) // group.size(), *rows.shape[1:])
    distributed.reduce_scatter_tensor(own, rows.contiguous(), group=group)
    return own


class _GatherRows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, group: ProcessGroup) -> Tensor:
        ctx.group = group
        gathered = rows.new_empty(group.size() * len(rows), *rows.shape[1:])
        distributed.all_gather_into_tensor(gathered, rows.contiguous(), group=group)
        return gathered

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        return sum_of_own_rows(grad_outputs[0], ctx.group), None


class _Total(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tensor: Tensor, group: ProcessGroup) -> Tensor:
        ctx.group = group
        return _sum(tensor, group)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        return _sum(grad_outputs[0], ctx.group), None


def _sum(tensor: Tensor, group: ProcessGroup) -> Tensor:
    result = tensor.clone()
    distributed.all_reduce(result, group=group)
    return result
