"""Layers that oneDNN computes on weights kept in its own order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.models.devices import cpu_multiplies_bfloat16

Activation = Literal["none", "gelu"]

_TOKENS = 64
"""For which the order of a linear layer's weights is chosen; it serves any number as well."""


class PackedConv2d(nn.Conv2d):
    """A convolution, and the activation behind it, by oneDNN on a kernel kept in its own order.

    torch's convolution brings the kernel into that order in every call, this one where the picture
    has another size than the one before; and on one thread torch computes 1×1 convolutions without
    oneDNN.
    """

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__(
            conv.in_channels,
            conv.out_channels,
            conv.kernel_size,  # pyright: ignore[reportArgumentType]
            stride=conv.stride,  # pyright: ignore[reportArgumentType]
            padding=conv.padding,  # pyright: ignore[reportArgumentType]
            dilation=conv.dilation,  # pyright: ignore[reportArgumentType]
            groups=conv.groups,
            bias=conv.bias is not None,
            device="meta",
        )
        self.weight, self.bias = conv.weight, conv.bias
        self.train(conv.training)
        self.activation: Activation = "none"
        self._packed = _Packed()

    def forward(self, input: Tensor) -> Tensor:
        if _can_pack(input, self.weight):
            return self._convolve_packed(input)
        result = super().forward(input)
        return F.gelu(result) if self.activation == "gelu" else result

    def _convolve_packed(self, input: Tensor) -> Tensor:
        input, groups = self._depthwise(input)
        geometry = (self.padding, self.stride, self.dilation, groups)
        # The fastest order depends on the picture's size, too.
        size = input.shape
        reorder = torch.ops.mkldnn._reorder_convolution_weight
        kernel = self._packed.of(self.weight, size, lambda it: reorder(it, *geometry, list(size)))
        return torch.ops.mkldnn._convolution_pointwise(
            input, kernel, self.bias, *geometry, self.activation, [], "none"
        )

    def _depthwise(self, input: Tensor) -> tuple[Tensor, int]:
        """Return the input and the number of groups that give the same, as oneDNN is fast at.

        Where each channel becomes several, it has no kernel as fast as for one that becomes one: a
        channel that comes several times saves two thirds of the time.
        """
        copies = self.out_channels // self.groups
        if self.groups == 1 or self.groups < self.in_channels or copies == 1:
            return input, self.groups
        repeated = input.permute(0, 2, 3, 1).repeat_interleave(copies, 3).permute(0, 3, 1, 2)
        return repeated, self.out_channels


class PackedLinear(nn.Linear):
    """A linear layer by oneDNN on weights kept in its own order.

    torch's brings them into that order in every call, which for the few tokens of a prompt takes as
    long as the product.
    """

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__(
            linear.in_features, linear.out_features, bias=linear.bias is not None, device="meta"
        )
        self.weight, self.bias = linear.weight, linear.bias
        self.train(linear.training)
        self._packed = _Packed()

    def forward(self, input: Tensor) -> Tensor:
        if not _can_pack(input, self.weight):
            return super().forward(input)
        reorder = torch.ops.mkldnn._reorder_linear_weight
        weight = self._packed.of(self.weight, (), lambda it: reorder(it, _TOKENS))
        return torch.ops.mkldnn._linear_pointwise(input, weight, self.bias, "none", [], "")

    def unpacked(self) -> nn.Linear:
        """Return torch's own layer of the same parameters."""
        linear = nn.Linear(
            self.in_features, self.out_features, bias=self.bias is not None, device="meta"
        )
        linear.weight, linear.bias = self.weight, self.bias
        return linear.train(self.training)


class _Packed:
    """A weight in oneDNN's order, brought there anew when the weight was written or replaced."""

    def __init__(self) -> None:
        self._tensor: Tensor | None = None
        self._source: object = None

    def of(
        self, weight: Tensor, shape: tuple[int, ...], reorder: Callable[[Tensor], Tensor]
    ) -> Tensor:
        """Return `weight` as `reorder` gives it, for inputs of `shape` where that matters."""
        source = (weight.data_ptr(), _version(weight), shape)
        if self._tensor is None or self._source != source:
            self._tensor, self._source = reorder(weight), source
        return self._tensor

    def __getstate__(self) -> dict[str, Any]:
        """Copies and pickles pack anew: oneDNN's order is not to be stored."""
        return {"_tensor": None, "_source": None}


def _can_pack(input: Tensor, weight: Tensor) -> bool:
    return (
        input.device.type == weight.device.type == "cpu"
        and input.dtype == weight.dtype
        and _is_packable(input.dtype)
        and not torch.is_grad_enabled()
        and not torch.jit.is_tracing()  # pyright: ignore[reportPrivateImportUsage]
        and not torch.compiler.is_compiling()
        and torch.backends.mkldnn.is_available()
    )


def _is_packable(dtype: torch.dtype) -> bool:
    """Without units for it, oneDNN would refuse bfloat16."""
    return dtype == torch.float32 or (dtype == torch.bfloat16 and cpu_multiplies_bfloat16())


def _version(parameter: Tensor) -> int:
    """How often the values were written in place; tensors made in inference mode do not count."""
    return 0 if parameter.is_inference() else parameter._version
