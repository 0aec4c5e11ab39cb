"""The processes that train one model together, as torchrun starts them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import distributed
from torch.distributed import ProcessGroup


@dataclass(frozen=True, kw_only=True)
class World:
    """This process's place among those that train together."""

    device: torch.device
    """Where this process computes."""
    rank: int = 0
    """0 … size - 1; rank 0 writes files and tells of progress."""
    size: int = 1
    group: ProcessGroup | None = None
    """What collectives go through; None where this process trains alone."""

    @property
    def is_main(self) -> bool:
        """Whether this is the process that writes files and tells of progress."""
        return self.rank == 0


@contextmanager
def training_world(device: str) -> Iterator[World]:
    """Join the processes that torchrun started, or be alone without it; leave them in the end.

    `device` is "cpu" or "cuda"; with several processes on CUDA each takes the card of its local
    rank. Raises ValueError for a device that this machine does not have.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield World(device=_usable(device))
        return
    if torch.device(device).type == "cuda":
        device = f"cuda:{os.environ['LOCAL_RANK']}"
        torch.cuda.set_device(_usable(device))
    where = _usable(device)
    distributed.init_process_group("nccl" if where.type == "cuda" else "gloo")
    try:
        yield World(
            device=where,
            rank=distributed.get_rank(),
            size=size,
            group=distributed.group.WORLD,
        )
    finally:
        distributed.destroy_process_group()


def _usable(device: str) -> torch.device:
    try:
        return torch.empty(0, device=device).device
    except (RuntimeError, AssertionError) as error:  # the latter from a torch without CUDA
        raise ValueError(
            f"The device '{device}' cannot be used on this machine; give cpu, or cuda where there "
            "is an NVIDIA GPU and a torch built for it."
        ) from error
