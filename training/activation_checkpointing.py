"""Activation checkpointing: memory for time."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from functools import partial
from types import MethodType
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from zoo.training.parallel.blocks import blocks_of
from zoo.training.running_statistics import running_statistics_kept


def checkpoint_activations(module: nn.Module) -> None:
    """Let every block inside `module`, in place, keep only its input for the backward pass.

    The backward pass runs the block again, with the same random numbers and without a second
    update of BatchNorm's running statistics. Keys and classes stay as they are.
    """
    for block in blocks_of(module):
        block.forward = MethodType(_forward, block)


def _forward(self: nn.Module, *inputs: Any, **options: Any) -> Any:
    run = partial(type(self).forward, self, *inputs, **options)
    if not torch.is_grad_enabled():
        return run()
    if torch.compiler.is_compiling():  # which keeps the statistics out of what it recomputes
        return checkpoint(run, use_reentrant=False)
    return checkpoint(run, use_reentrant=False, context_fn=partial(_contexts, self))


def _contexts(
    block: nn.Module,
) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    """What the first run and the second one happen in."""
    return nullcontext(), running_statistics_kept(block)
