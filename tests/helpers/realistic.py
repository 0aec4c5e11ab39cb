"""Weights that look trained, so that a wrong branch, norm or scale shows in the features."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def make_realistic(model: nn.Module, seed: int = 0) -> None:
    """Give `model` layer scales near 0.3 and BatchNorm statistics that are not the identity, in
    place. Freshly built models have layer scales of 1e-5, which hide every error behind them.
    """
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            _fill(module.running_mean, 0.1, 0.0, generator)
            _fill(module.running_var, 0.2, 1.0, generator, positive=True)
            _fill(module.weight, 0.1, 1.0, generator)
            _fill(module.bias, 0.1, 0.0, generator)
    for name, parameter in model.named_parameters():
        if name.endswith(("gamma", "layer_scale")):
            _fill(parameter, 0.03, 0.3, generator)
        elif name.endswith("bias") and not parameter.any():
            _fill(parameter, 0.02, 0.0, generator)


def _fill(
    value: Tensor | None,
    deviation: float,
    mean: float,
    generator: torch.Generator,
    *,
    positive: bool = False,
) -> None:
    assert value is not None
    noise = torch.randn(value.shape, generator=generator)
    noise = noise.abs() if positive else noise
    with torch.no_grad():
        value.copy_(mean + deviation * noise)


def relative_error(actual: Tensor, expected: Tensor) -> float:
    """max |a − b| / max |b|, the figure of design/measuring.md."""
    return float((actual - expected).detach().abs().max() / expected.detach().abs().max())
