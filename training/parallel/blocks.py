"""The blocks of a model: the repeated parts that are divided and recomputed one by one."""

from __future__ import annotations

from torch import nn


def blocks_of(module: nn.Module) -> list[nn.Module]:
    """Return the children of every `blocks` (`layers` in transformers' models) inside `module`, in
    the order in which they run."""
    return [
        block
        for name, container in module.named_modules()
        if name.rpartition(".")[2] in ("blocks", "layers")
        for block in container.children()
    ]
