"""The processes that train one model together, as torchrun starts them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

import torch
from torch import distributed
from torch.distributed import ProcessGroup
from torch.distributed.rendezvous import rendezvous

if TYPE_CHECKING:
    from torch._C._distributed_c10d import Store

# Longer than any evaluation or copy that one process makes while the others wait for it.
_PATIENCE = timedelta(days=7)
_FAILURES = "zoo.failures"


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
    patient_group: ProcessGroup | None = None
    """The same processes over gloo, for waits that may be long."""

    @property
    def is_main(self) -> bool:
        """Whether this is the process that writes files and tells of progress."""
        return self.rank == 0

    def wait(self) -> None:
        """Return when every process has come here, however long one of them takes."""
        if self.patient_group is not None:
            distributed.barrier(self.patient_group)


@contextmanager
def training_world(device: str) -> Iterator[World]:
    """Join the processes that torchrun started, or be alone without it; leave them in the end.

    `device` is "cpu" or "cuda"; with several processes on CUDA each takes the card of its local
    rank. Where several processes fail, or one and therefore the others, the first of them raises
    its error and the others SystemExit, so that one sentence says what happened. Raises ValueError
    for a device that this machine does not have.
    """
    if not _is_shared():
        yield World(device=_usable(device))
        return
    where = _own_device(device)
    store, rank, size = next(rendezvous("env://"))
    backend = "nccl" if where.type == "cuda" else "gloo"
    distributed.init_process_group(backend, store=store, rank=rank, world_size=size)
    patient = distributed.new_group(backend="gloo", timeout=_PATIENCE)
    assert isinstance(patient, ProcessGroup)
    with one_complaint(store):
        yield World(
            device=where,
            rank=rank,
            size=size,
            group=distributed.group.WORLD,
            patient_group=patient,
        )
    # Not after an error: collectives that nobody will join could block here.
    distributed.destroy_process_group()


@contextmanager
def one_complaint(store: Store | None = None) -> Iterator[None]:
    """Of the processes that fail here, let the first raise its error and the others SystemExit.

    Without a `store` it is that of torchrun, for what every process does before it joins.
    """
    try:
        yield
    except (ValueError, OSError) as error:
        if _is_shared() and (store or next(rendezvous("env://"))[0]).add(_FAILURES, 1) > 1:
            raise SystemExit(2) from error
        raise
    except RuntimeError as error:  # also what a collective raises when a partner has gone
        if store is not None and _has_failed(store):
            raise SystemExit(2) from error
        raise


def _has_failed(store: Store) -> bool:
    """Whether a process has reported an error; also where the store has gone with process 0."""
    try:
        return store.add(_FAILURES, 0) > 0
    except RuntimeError:
        return True


def _is_shared() -> bool:
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def _own_device(device: str) -> torch.device:
    if torch.device(device).type == "cuda":
        device = f"cuda:{os.environ['LOCAL_RANK']}"
        torch.cuda.set_device(_usable(device))
    return _usable(device)


def _usable(device: str) -> torch.device:
    try:
        return torch.empty(0, device=device).device
    except (RuntimeError, AssertionError) as error:  # the latter from a torch without CUDA
        raise ValueError(
            f"The device '{device}' cannot be used on this machine; give cpu, or cuda where there "
            "is an NVIDIA GPU and a torch built for it."
        ) from error
