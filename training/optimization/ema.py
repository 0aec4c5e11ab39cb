"""An exponential moving average of the weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor


class WeightAverage:
    """average ← decay · average + (1 - decay) · weights, after every step.

    Everything in the model's state dict is averaged, BatchNorm's running statistics too; integers
    are those of the last step. Where FSDP2 divides the weights it divides their average.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        """Begin with the weights as they are; `decay` in (0, 1), e.g. 0.9995."""
        self.decay = decay
        self._average = _copies(model)

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Move the average towards the weights."""
        pairs = [
            (_own_part(average), _own_part(value))
            for average, value in zip(
                self._average.values(), model.state_dict().values(), strict=True
            )
        ]
        counts = [pair for pair in pairs if not pair[0].is_floating_point()]
        floats = [pair for pair in pairs if pair[0].is_floating_point()]
        averages, values = [a for a, _ in floats], [v for _, v in floats]
        torch._foreach_lerp_(averages, values, 1 - self.decay)  # pyright: ignore[reportPrivateImportUsage]
        for average, value in counts:
            average.copy_(value)

    @contextmanager
    def apply_to(self, model: nn.Module) -> Iterator[None]:
        """Give the model the averaged weights, and its own back in the end."""
        own = _copies(model)
        _put(self._average, model)
        try:
            yield
        finally:
            _put(own, model)

    def state_dict(self) -> dict[str, Tensor]:
        """Return the averages, named as in the model's state dict."""
        return dict(self._average)

    @torch.no_grad()
    def load_state_dict(self, tensors: Mapping[str, Tensor]) -> None:
        """Go on from averages that `state_dict` returned, with the same names."""
        for name, average in self._average.items():
            average.copy_(tensors[name])


def _copies(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


@torch.no_grad()
def _put(tensors: Mapping[str, Tensor], model: nn.Module) -> None:
    for name, value in model.state_dict().items():
        value.copy_(tensors[name])


def _own_part(tensor: Tensor) -> Tensor:
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor
