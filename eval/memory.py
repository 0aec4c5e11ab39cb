"""Peak memory of a forward pass's activations."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from zoo.eval.features import evaluation_mode


def peak_activation_bytes(module: nn.Module, *example_inputs: Tensor) -> int:
    """Largest sum of bytes of tensors alive at once in `module(*example_inputs)`, in eval mode.

    Every storage that an operator returns counts from its making until its last reference goes;
    parameters, buffers and the inputs do not count, nor does scratch space inside an operator. It
    belongs to the eager graph, so that it does not depend on the load of the machine.
    """
    resident = [*module.parameters(), *module.buffers(), *example_inputs]
    meter = _LiveBytes(resident)
    with evaluation_mode(module), meter:
        module(*example_inputs)
    return meter.peak


class _LiveBytes(TorchDispatchMode):
    """Follows the storages that operators return."""

    def __init__(self, resident: Sequence[Tensor]) -> None:
        super().__init__()
        self.live = 0
        self.peak = 0
        self._known = weakref.WeakSet(tensor.untyped_storage() for tensor in resident)

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                self._follow(leaf.untyped_storage())
        return result

    def _follow(self, storage: torch.UntypedStorage) -> None:
        if storage in self._known:
            return
        self._known.add(storage)
        weakref.finalize(storage, self._free, storage.nbytes())
        self.live += storage.nbytes()
        self.peak = max(self.peak, self.live)

    def _free(self, size: int) -> None:
        self.live -= size
