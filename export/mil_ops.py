"""Arithmetic, reductions and neural layers of MIL, the language inside a Core ML package.

Each function computes one op with torch in float32 (integers in int64); the interpreter rounds the
result to the type that the package declares. Semantics: coremltools' op reference
(`coremltools.converters.mil.mil.ops.defs`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

OpFunction = Callable[["OpInputs"], Tensor | tuple[Tensor, ...]]


class OpInputs:
    """The inputs of one op: operands as tensors, parameters as Python values."""

    def __init__(self, op: Any, values: Mapping[str, Tensor]) -> None:
        self._op = op
        self._values = values

    def has(self, name: str) -> bool:
        """Whether the optional input `name` was given."""
        return self._op.inputs.get(name) is not None

    def tensor(self, name: str) -> Tensor:
        """Operand `name` in float32, int64 or bool."""
        return self._widen(self._op.inputs[name])

    def optional_tensor(self, name: str) -> Tensor | None:
        """Operand `name`, or None where it was not given."""
        return self.tensor(name) if self.has(name) else None

    def tensors(self, name: str) -> list[Tensor]:
        """The list of operands `name` of `concat` and `stack`."""
        return [self._widen(variable) for variable in self._op.inputs[name]]

    def parameter(self, name: str) -> Any:
        """Constant `name` as bool, number, str or list; None where it was not given.

        Raises ValueError where the package computes it while it runs.
        """
        if not self.has(name):
            return None
        value = self._op.inputs[name].val
        if value is None:
            raise ValueError(
                f"Parameter '{name}' of '{self._op.op_type}' op '{self._op.name}' is computed at "
                "run time, but only constant parameters are executed; export with fixed shapes."
            )
        return value if isinstance(value, str) else value.tolist()

    def refuse(self, parameter: str, value: object) -> ValueError:
        """The error for a parameter value that no function here implements."""
        return ValueError(
            f"'{self._op.op_type}' op '{self._op.name}' has {parameter}={value!r}, which the "
            "interpreter does not execute; add it to zoo/export/mil_ops.py."
        )

    def _widen(self, variable: Any) -> Tensor:
        value = self._values[variable.name]
        if value.dtype == torch.bool:
            return value
        return value.float() if value.is_floating_point() else value.long()


def _unary(function: Callable[[Tensor], Tensor]) -> OpFunction:
    return lambda inputs: function(inputs.tensor("x"))


def _binary(function: Callable[[Tensor, Tensor], Tensor]) -> OpFunction:
    return lambda inputs: function(inputs.tensor("x"), inputs.tensor("y"))


def _reduction(function: Callable[[Tensor, list[int], bool], Tensor]) -> OpFunction:
    def reduce(inputs: OpInputs) -> Tensor:
        x = inputs.tensor("x")
        axes = inputs.parameter("axes")
        axes = list(range(x.ndim)) if axes is None else axes
        return function(x, axes, bool(inputs.parameter("keep_dims")))

    return reduce


def _reduce_argmax(inputs: OpInputs) -> Tensor:
    axis, keep_dims = inputs.parameter("axis"), inputs.parameter("keep_dims")
    return inputs.tensor("x").argmax(dim=axis, keepdim=bool(keep_dims))


def _select(inputs: OpInputs) -> Tensor:
    return torch.where(inputs.tensor("cond"), inputs.tensor("a"), inputs.tensor("b"))


def _gelu(inputs: OpInputs) -> Tensor:
    mode = inputs.parameter("mode")
    if mode not in ("EXACT", "TANH_APPROXIMATION"):
        raise inputs.refuse("mode", mode)
    return F.gelu(inputs.tensor("x"), approximate="none" if mode == "EXACT" else "tanh")


def _softmax(inputs: OpInputs) -> Tensor:
    return inputs.tensor("x").softmax(dim=inputs.parameter("axis"))


def _linear(inputs: OpInputs) -> Tensor:
    return F.linear(
        inputs.tensor("x"), inputs.tensor("weight"), inputs.optional_tensor("bias")
    )  # weight (out, in)


def _matmul(inputs: OpInputs) -> Tensor:
    x, y = inputs.tensor("x"), inputs.tensor("y")
    x = x.mT if inputs.parameter("transpose_x") else x
    y = y.mT if inputs.parameter("transpose_y") else y
    return x @ y


def _conv(inputs: OpInputs) -> Tensor:
    x, weight = inputs.tensor("x"), inputs.tensor("weight")  # (B, C, *space), (O, C/groups, *k)
    pad_type = inputs.parameter("pad_type")
    if pad_type not in ("custom", "valid"):
        raise inputs.refuse("pad_type", pad_type)
    if pad_type == "custom":
        x = F.pad(x, innermost_first(inputs.parameter("pad")))
    convolve = F.conv1d if weight.ndim == 3 else F.conv2d
    return convolve(
        x,
        weight,
        inputs.optional_tensor("bias"),
        stride=inputs.parameter("strides"),
        dilation=inputs.parameter("dilations"),
        groups=inputs.parameter("groups"),
    )


def innermost_first(pad: list[int]) -> list[int]:
    """MIL pads (before, after) from the outermost axis inwards, torch from the innermost out."""
    pairs = [pad[i : i + 2] for i in range(0, len(pad), 2)]
    return [amount for pair in reversed(pairs) for amount in pair]


def _conv_transpose(inputs: OpInputs) -> Tensor:
    """Two spatial axes. MIL's weight is torch's: (C, O/groups, *k)."""
    pad_type = inputs.parameter("pad_type")
    pad = inputs.parameter("pad") or [0] * 4
    if pad_type not in ("custom", "valid") or (pad_type == "custom" and any(pad)):
        raise inputs.refuse("pad_type", (pad_type, pad))
    strides, dilations = inputs.parameter("strides"), inputs.parameter("dilations")
    if dilations != [1, 1] or inputs.tensor("x").ndim != 4:
        raise inputs.refuse("dilations", dilations)
    result = F.conv_transpose2d(
        inputs.tensor("x"),
        inputs.tensor("weight"),
        inputs.optional_tensor("bias"),
        stride=strides,
        groups=inputs.parameter("groups"),
    )
    shape = inputs.parameter("output_shape")
    if shape is not None and list(result.shape) != shape:
        raise inputs.refuse("output_shape", shape)
    return result


def _max_pool(inputs: OpInputs) -> Tensor:
    """Two spatial axes."""
    pad_type = inputs.parameter("pad_type")
    if pad_type not in ("custom", "valid") or inputs.parameter("ceil_mode"):
        raise inputs.refuse("pad_type", pad_type)
    x = inputs.tensor("x")
    if pad_type == "custom":
        x = F.pad(x, innermost_first(inputs.parameter("pad")), value=-torch.inf)
    return F.max_pool2d(x, inputs.parameter("kernel_sizes"), inputs.parameter("strides"))


def _batch_norm(inputs: OpInputs) -> Tensor:
    return F.batch_norm(
        inputs.tensor("x"),
        inputs.tensor("mean"),
        inputs.tensor("variance"),
        inputs.optional_tensor("gamma"),
        inputs.optional_tensor("beta"),
        eps=inputs.parameter("epsilon"),
    )


def _layer_norm(inputs: OpInputs) -> Tensor:
    x, axes = inputs.tensor("x"), inputs.parameter("axes")
    variance, mean = torch.var_mean(x, dim=axes, correction=0, keepdim=True)
    x = (x - mean) * torch.rsqrt(variance + inputs.parameter("epsilon"))
    shape = [x.shape[axis] if axis in _positive(axes, x.ndim) else 1 for axis in range(x.ndim)]
    gamma, beta = inputs.optional_tensor("gamma"), inputs.optional_tensor("beta")
    x = x if gamma is None else x * gamma.reshape(shape)
    return x if beta is None else x + beta.reshape(shape)


def _positive(axes: list[int], rank: int) -> set[int]:
    return {axis % rank for axis in axes}


def _scaled_dot_product_attention(inputs: OpInputs) -> Tensor:
    return F.scaled_dot_product_attention(
        inputs.tensor("query"),
        inputs.tensor("key"),
        inputs.tensor("value"),
        attn_mask=inputs.optional_tensor("attn_mask"),
    )


MATH_OPS: dict[str, OpFunction] = {
    "abs": _unary(torch.abs),
    "relu": _unary(torch.relu),
    "sigmoid": _unary(torch.sigmoid),
    "sqrt": _unary(torch.sqrt),
    "sin": _unary(torch.sin),
    "cos": _unary(torch.cos),
    "cast": _unary(lambda x: x),  # the interpreter rounds to the declared type
    "add": _binary(torch.add),
    "sub": _binary(torch.sub),
    "mul": _binary(torch.mul),
    "real_div": _binary(torch.div),
    "maximum": _binary(torch.maximum),
    "minimum": _binary(torch.minimum),
    "greater": _binary(torch.gt),
    "greater_equal": _binary(torch.ge),
    "not_equal": _binary(torch.ne),
    "select": _select,
    "reduce_mean": _reduction(lambda x, axes, keep: x.mean(axes, keepdim=keep)),
    "reduce_sum": _reduction(lambda x, axes, keep: x.sum(axes, keepdim=keep)),
    "reduce_max": _reduction(lambda x, axes, keep: x.amax(axes, keepdim=keep)),
    "reduce_l2_norm": _reduction(
        lambda x, axes, keep: torch.linalg.vector_norm(x, dim=axes, keepdim=keep)
    ),
    "reduce_argmax": _reduce_argmax,
    "gelu": _gelu,
    "softmax": _softmax,
    "linear": _linear,
    "matmul": _matmul,
    "conv": _conv,
    "conv_transpose": _conv_transpose,
    "max_pool": _max_pool,
    "batch_norm": _batch_norm,
    "layer_norm": _layer_norm,
    "scaled_dot_product_attention": _scaled_dot_product_attention,
}
