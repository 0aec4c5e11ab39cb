"""BatchNorm's running statistics, where a forward pass is made a second time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

_BatchNorm = nn.modules.batchnorm._BatchNorm


@contextmanager
def running_statistics_kept(module: nn.Module) -> Iterator[None]:
    """Normalise with the batch's statistics as in training, but leave the running ones alone.

    They take part in the very same operations, moved by 0 and uncounted, so that a second run keeps
    for the backward pass what the first one kept.
    """
    norms = [m for m in module.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
    settings = [(norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:
        norm.momentum, norm.num_batches_tracked = 0.0, None
    try:
        yield
    finally:
        for norm, (momentum, batches) in zip(norms, settings, strict=True):
            norm.momentum, norm.num_batches_tracked = momentum, batches
