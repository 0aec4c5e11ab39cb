"""A function run by several processes of this machine at once, as torchrun would start them."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any, TypeVar

import torch
from torch import multiprocessing
from torch.multiprocessing.spawn import start_processes

Result = TypeVar("Result")


def run_in_processes(
    function: Callable[..., Result], processes: int, *arguments: Any
) -> list[Result]:
    """Return what `function(*arguments)` returns in every process, in the order of the ranks.

    Each process has torchrun's environment and one thread. The function is importable and its
    arguments and results can be pickled. Raises what torch.multiprocessing does where one fails.
    """
    pipes = [multiprocessing.Pipe(duplex=False) for _ in range(processes)]
    children = start_processes(
        _run,
        (processes, _free_port(), [sender for _, sender in pipes], function, arguments),
        nprocs=processes,
        join=False,
        start_method="spawn",
    )
    assert children is not None
    for _, sender in pipes:
        sender.close()
    results = [_receive(receiver) for receiver, _ in pipes]
    while not children.join():
        pass
    return results


def _run(
    rank: int,
    size: int,
    port: int,
    senders: list[Connection],
    function: Callable[..., Any],
    arguments: tuple[Any, ...],
) -> None:
    os.environ |= {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(size),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    torch.set_num_threads(1)
    senders[rank].send(function(*arguments))


def _receive(receiver: Connection) -> Any:
    try:
        return receiver.recv()
    except EOFError:  # the process failed; joining it tells why
        return None


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
