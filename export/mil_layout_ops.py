"""Ops of MIL that move values without changing them: shapes, slices, gathers.

Semantics: coremltools' op reference (`ops/defs/*/tensor_transformation.py`, `scatter_gather.py`).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from zoo.export.mil_ops import OpFunction, OpInputs, innermost_first


def _reshape(inputs: OpInputs) -> Tensor:
    return inputs.tensor("x").reshape(inputs.parameter("shape"))


def _transpose(inputs: OpInputs) -> Tensor:
    return inputs.tensor("x").permute(inputs.parameter("perm"))


def _expand_dims(inputs: OpInputs) -> Tensor:
    x, axes = inputs.tensor("x"), inputs.parameter("axes")
    rank = x.ndim + len(axes)  # axes count in the result
    for axis in sorted(axis % rank for axis in axes):
        x = x.unsqueeze(axis)
    return x


def _squeeze(inputs: OpInputs) -> Tensor:
    x, axes = inputs.tensor("x"), inputs.parameter("axes")
    return x.squeeze() if axes is None else x.squeeze(tuple(axes))


def _tile(inputs: OpInputs) -> Tensor:
    return inputs.tensor("x").repeat(inputs.parameter("reps"))


def _concat(inputs: OpInputs) -> Tensor:
    if inputs.parameter("interleave"):
        raise inputs.refuse("interleave", True)
    # Numbers without an axis are joined into a vector, which torch.cat refuses.
    values = [value.reshape(1) if value.ndim == 0 else value for value in inputs.tensors("values")]
    return torch.cat(values, dim=inputs.parameter("axis"))


def _pad(inputs: OpInputs) -> Tensor:
    mode = inputs.parameter("mode")
    if mode != "constant":
        raise inputs.refuse("mode", mode)
    pad, value = inputs.parameter("pad"), inputs.parameter("constant_val")
    return F.pad(inputs.tensor("x"), innermost_first(pad), value=value)


def _stack(inputs: OpInputs) -> Tensor:
    return torch.stack(inputs.tensors("values"), dim=inputs.parameter("axis"))


def _split(inputs: OpInputs) -> tuple[Tensor, ...]:
    x, axis = inputs.tensor("x"), inputs.parameter("axis")
    sizes = inputs.parameter("split_sizes")
    if sizes is None:
        count = inputs.parameter("num_splits")
        sizes = [x.shape[axis] // count] * count
    return x.split(sizes, dim=axis)


def _slice_by_index(inputs: OpInputs) -> Tensor:
    """x[begin:end:stride] an axis; a mask opens that end, a squeezed axis is read at `begin`."""
    x = inputs.tensor("x")
    begin, end = inputs.parameter("begin"), inputs.parameter("end")
    stride = inputs.parameter("stride") or [1] * x.ndim
    closed = [False] * x.ndim
    begin_mask = inputs.parameter("begin_mask") or closed
    end_mask = inputs.parameter("end_mask") or closed
    squeeze_mask = inputs.parameter("squeeze_mask") or closed
    for axis in reversed(range(x.ndim)):  # from the last, so that squeezing moves no axis to come
        if squeeze_mask[axis]:
            x = x.select(axis, begin[axis])
            continue
        first = None if begin_mask[axis] else begin[axis]
        last = None if end_mask[axis] else end[axis]
        rows = range(*slice(first, last, stride[axis]).indices(x.shape[axis]))
        x = x.index_select(axis, torch.tensor(rows, dtype=torch.long))
    return x


def _gather(inputs: OpInputs) -> Tensor:
    x, indices, axis = inputs.tensor("x"), inputs.tensor("indices"), inputs.parameter("axis")
    if inputs.parameter("batch_dims"):
        raise inputs.refuse("batch_dims", inputs.parameter("batch_dims"))
    axis %= x.ndim
    shape = (*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :])
    return x.index_select(axis, indices.flatten()).reshape(shape)


def _gather_nd(inputs: OpInputs) -> Tensor:
    if inputs.parameter("batch_dims"):
        raise inputs.refuse("batch_dims", inputs.parameter("batch_dims"))
    return inputs.tensor("x")[inputs.tensor("indices").unbind(dim=-1)]


LAYOUT_OPS: dict[str, OpFunction] = {
    "reshape": _reshape,
    "transpose": _transpose,
    "expand_dims": _expand_dims,
    "squeeze": _squeeze,
    "tile": _tile,
    "concat": _concat,
    "pad": _pad,
    "stack": _stack,
    "split": _split,
    "slice_by_index": _slice_by_index,
    "gather": _gather,
    "gather_nd": _gather_nd,
}
