"""Executes a saved Core ML package on any machine, op by op, from its own files.

Apple's runtime exists on macOS only. Here the program and its weights are read back from the
.mlpackage folder, every op is computed by torch in float32 and its result is rounded to the type
that the package declares (float16 in a half-precision package).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from zoo.export.mil_layout_ops import LAYOUT_OPS
from zoo.export.mil_ops import MATH_OPS, OpInputs
from zoo.export.toolchain import import_coremltools
from zoo.export.weight_seal import check_seal

OPS = MATH_OPS | LAYOUT_OPS

MASK_MAGNITUDE = 1e4
"""Constants from here on are attention masks (coremltools writes -3e4), not activations, and so is
what is multiplied by such a number: a mask that the package computes."""

_DTYPES = {
    "fp16": torch.float16,
    "fp32": torch.float32,
    "int16": torch.int16,
    "uint16": torch.uint16,
    "int32": torch.int32,
    "bool": torch.bool,
}


@dataclass(frozen=True, kw_only=True)
class Execution:
    """What one run of a package gave."""

    outputs: dict[str, Tensor]
    largest_activation: float
    """Largest finite magnitude among the results of all ops, before rounding.

    Where it exceeds 65504 in a float16 package, that op overflows. Attention scores to which a
    mask was added are left out, and so are masks.
    """
    largest_activation_op: str
    """Type and name of the op that gave it."""


class MilProgram:
    """The `main` function of a package, ready to run."""

    def __init__(self, path: Path, function: Any) -> None:
        self.path = path
        self._input_shapes = {name: tuple(v.shape) for name, v in function.inputs.items()}
        self._output_names = [variable.name for variable in function.outputs]
        self._ops = [op for op in function.operations if op.op_type != "const"]
        constants = [op.outputs[0] for op in function.operations if op.op_type == "const"]
        self._constants = {
            variable.name: torch.as_tensor(variable.val)
            for variable in constants
            if not isinstance(variable.val, str)
        }
        self._masks = {
            name for name, value in self._constants.items() if value.ndim > 1 and _is_mask(value)
        }
        self._masks |= {op.outputs[0].name for op in self._ops if self._makes_mask(op)}
        self._last_uses = _last_uses(self._ops, self._output_names)
        self._require_known_ops()

    @property
    def op_histogram(self) -> dict[str, int]:
        """How often each op type occurs, constants left out, most frequent first."""
        return dict(Counter(op.op_type for op in self._ops).most_common())

    @property
    def precision(self) -> str:
        """`float16` where any op computes in half precision, else `float32`."""
        dtypes = {_dtype(variable) for op in self._ops for variable in op.outputs}
        return "float16" if torch.float16 in dtypes else "float32"

    @property
    def input_names(self) -> list[str]:
        """Names of the inputs, in order."""
        return list(self._input_shapes)

    @property
    def output_names(self) -> list[str]:
        """Names of the outputs, in order."""
        return list(self._output_names)

    def lookup_tables(self) -> list[Tensor]:
        """The constant tables (rows, width) from which rows are gathered, as stored."""
        names = {op.x.name for op in self._ops if op.op_type == "gather"}
        return [self._constants[name] for name in sorted(names & self._constants.keys())]

    def run(self, inputs: Mapping[str, Tensor]) -> Execution:
        """Execute the package once.

        `inputs` maps each input name to a tensor of the declared shape: an image is (1, 3, H, W)
        with values 0…255, as Core ML hands over its pixels.

        Raises ValueError where names or shapes differ from what the package declares.
        """
        self._check_inputs(inputs)
        values = {**self._constants, **inputs}
        largest, largest_op = 0.0, ""
        for op, last_uses in zip(self._ops, self._last_uses, strict=True):
            magnitude = self._execute(op, values)
            for name in last_uses:
                del values[name]
            if magnitude > largest:
                largest, largest_op = magnitude, f"{op.op_type} {op.name}"
        return Execution(
            outputs={name: values[name] for name in self._output_names},
            largest_activation=largest,
            largest_activation_op=largest_op,
        )

    def _execute(self, op: Any, values: dict[str, Tensor]) -> float:
        """Add the results of `op` to `values` and return the largest magnitude among them."""
        results = OPS[op.op_type](OpInputs(op, values))
        results = results if isinstance(results, tuple) else (results,)
        for variable, result in zip(op.outputs, results, strict=True):
            assert tuple(result.shape) == tuple(variable.shape), (op.op_type, op.name)
            values[variable.name] = result.to(_dtype(variable))
        if self._adds_mask(op) or op.outputs[0].name in self._masks:
            return 0.0
        return max(_magnitude(result) for result in results)

    def _adds_mask(self, op: Any) -> bool:
        return op.op_type == "add" and not self._masks.isdisjoint({op.x.name, op.y.name})

    def _makes_mask(self, op: Any) -> bool:
        if op.op_type != "mul":
            return False
        factors = [self._constants[x.name] for x in (op.x, op.y) if x.name in self._constants]
        return any(factor.ndim == 0 and _is_mask(factor) for factor in factors)

    def _check_inputs(self, inputs: Mapping[str, Tensor]) -> None:
        given = {name: tuple(value.shape) for name, value in inputs.items()}
        if given != self._input_shapes:
            raise ValueError(
                f"Package '{self.path}' takes {self._input_shapes}, but got {given}; pass exactly "
                "these inputs and shapes."
            )

    def _require_known_ops(self) -> None:
        unknown = sorted({op.op_type for op in self._ops} - OPS.keys())
        if unknown:
            raise ValueError(
                f"Package '{self.path}' uses the op {', '.join(map(repr, unknown))}, which the "
                "interpreter cannot execute; add it to zoo/export/mil_ops.py."
            )


def load_package(path: str | Path) -> MilProgram:
    """Read a saved .mlpackage folder, program and weights, for execution.

    Raises FileNotFoundError for a missing package and ValueError for a damaged one, for one that
    is no ML program, or one with an op that cannot be executed here.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"No Core ML package at '{path}'; check the path.")
    return MilProgram(path, _read_main_function(path))


def _last_uses(ops: Sequence[Any], outputs: Sequence[str]) -> list[list[str]]:
    """Return for each op the results that no later one takes: at 1024 pixels the scores of one
    attention have 0.4 GB."""
    results = {variable.name for op in ops for variable in op.outputs}
    needed = set(outputs)
    uses = []
    for op in reversed(ops):
        touched = {*_operands(op), *(variable.name for variable in op.outputs)}
        last = (touched & results) - needed
        needed |= last
        uses.append(sorted(last))
    return uses[::-1]


def _operands(op: Any) -> Iterator[str]:
    """Names of all that an op takes."""
    for given in op.inputs.values():
        variables = given if isinstance(given, tuple | list) else (given,)
        yield from (variable.name for variable in variables if variable is not None)


def _read_main_function(path: Path) -> Any:
    coremltools = import_coremltools()
    from coremltools.converters.mil.frontend.milproto.load import load
    from google.protobuf.message import DecodeError

    try:
        package = coremltools.models.MLModel(str(path), skip_model_load=True)
        spec = package.get_spec()
        if spec.WhichOneof("Type") != "mlProgram":
            raise ValueError("it holds no ML program")
        check_seal(path, spec)
        program = load(spec, spec.specificationVersion, package.weights_dir)
    except (ValueError, RuntimeError, OSError, DecodeError) as error:
        raise ValueError(
            f"'{path}' is not a Core ML package that can be read ({error}); export it again."
        ) from error
    return program.functions["main"]


def _dtype(variable: Any) -> torch.dtype:
    from coremltools.converters.mil.mil import types

    return _DTYPES[types.builtin_to_string(variable.dtype)]


def _is_mask(constant: Tensor) -> bool:
    return constant.is_floating_point() and constant.min().item() <= -MASK_MAGNITUDE


def _magnitude(result: Tensor) -> float:
    if not result.is_floating_point():
        return 0.0
    return result.nan_to_num(nan=0.0, posinf=0.0, neginf=0.0).abs().max().item()
