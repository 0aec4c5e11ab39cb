"""Compares a saved Core ML package, executed from its own files, with the model it came from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from zoo.export.mil_interpreter import Execution, MilProgram, load_package

RELATIVE_L2_LIMIT = {"float16": 1e-2, "float32": 1e-4}
"""Largest relative L2 error that counts as agreement.

Sound float16 packages show 1e-3 to 6.1e-3 (random weights of realistic scale, and a trained
mobileclip-tiny), sound float32 packages below 1e-5. Damaged weight files are caught by their seal.
"""
FLOAT16_MAX = 65504.0


@dataclass(frozen=True, kw_only=True)
class Verification:
    """How well a package agrees with its model; see `verify_package`."""

    precision: str
    examples: int
    relative_l2: float
    """‖package − model‖ / ‖model‖ over all examples, of the output where it is largest."""
    max_abs: float
    cosine: float
    """Smallest cosine between a feature, or a map, of the package and the model's."""
    table_relative_l2: float
    """Largest relative L2 error of a row of a lookup table; 0 where none was compared."""
    largest_activation: float
    largest_activation_op: str


def verify_package(
    package: str | Path,
    model: Callable[..., Tensor | tuple[Tensor, ...]],
    examples: Sequence[tuple[Tensor, ...]],
    *,
    tables: Sequence[Tensor] = (),
) -> Verification:
    """Execute a saved package and compare its outputs with `model`.

    `examples` are inputs as the package declares them, in its order (an image: float (1, 3, H, W)
    with values 0…255); `model` maps each to float32 features (1, …, D) or maps (1, C, H, W), one
    for each output, in their order. `tables` are weights of token embeddings (rows, width):
    examples touch only some of their rows, so all rows are compared.

    Raises ValueError where the package is damaged, disagrees by more than `RELATIVE_L2_LIMIT`,
    or leaves the range of float16, and FileNotFoundError where it is missing.
    """
    program = load_package(package)
    runs = [
        program.run(dict(zip(program.input_names, example, strict=True))) for example in examples
    ]
    with torch.no_grad():
        expected = _joined([_as_tuple(model(*example)) for example in examples])
    actual = _joined([[run.outputs[name] for name in program.output_names] for run in runs])
    pairs = list(zip(actual, expected, strict=True))
    peak = max(runs, key=lambda run: run.largest_activation)
    verification = Verification(
        precision=program.precision,
        examples=len(examples),
        # torch's extremes keep a NaN, which Python's may pass over.
        relative_l2=torch.stack([_relative_l2(*pair) for pair in pairs]).max().item(),
        max_abs=torch.stack([(one - other).abs().max() for one, other in pairs]).max().item(),
        cosine=torch.stack([_smallest_cosine(*pair) for pair in pairs]).min().item(),
        table_relative_l2=_worst_row(program, tables),
        largest_activation=peak.largest_activation,
        largest_activation_op=peak.largest_activation_op,
    )
    _check_range(program, peak)
    _check_agreement(program, verification)
    return verification


def _as_tuple(outputs: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return (outputs,) if isinstance(outputs, Tensor) else outputs


def _joined(examples: Sequence[Sequence[Tensor]]) -> list[Tensor]:
    """Each output of all examples, (examples, …)."""
    return [torch.cat([one.float() for one in output]) for output in zip(*examples, strict=True)]


def _relative_l2(actual: Tensor, expected: Tensor) -> Tensor:
    return (actual - expected).norm() / expected.norm()


def _smallest_cosine(actual: Tensor, expected: Tensor) -> Tensor:
    vectors = [x.double().flatten(2) if x.ndim == 4 else x.double() for x in (actual, expected)]
    return F.cosine_similarity(*vectors, dim=-1).min()


def _worst_row(program: MilProgram, tables: Sequence[Tensor]) -> float:
    return max((_worst_row_of(program, table.detach()) for table in tables), default=0.0)


def _worst_row_of(program: MilProgram, table: Tensor) -> float:
    stored = [other for other in program.lookup_tables() if other.shape == table.shape]
    if not stored:
        raise ValueError(
            f"Package '{program.path}' holds no lookup table of shape {tuple(table.shape)}, which "
            "the model has; export it again from this model."
        )
    floor = torch.finfo(torch.float32).tiny  # a row of zeros must be stored as zeros
    norms = table.norm(dim=1).clamp_min(floor)
    return min(((other.float() - table).norm(dim=1) / norms).max().item() for other in stored)


def _check_range(program: MilProgram, peak: Execution) -> None:
    if program.precision == "float16" and peak.largest_activation > FLOAT16_MAX:
        raise ValueError(
            f"Package '{program.path}' leaves the range of float16 in op "
            f"'{peak.largest_activation_op}' ({peak.largest_activation:.3g}, at most "
            f'{FLOAT16_MAX:.0f} fits); export with precision="float32".'
        )


def _check_agreement(program: MilProgram, verification: Verification) -> None:
    limit = RELATIVE_L2_LIMIT[program.precision]
    error = max(verification.relative_l2, verification.table_relative_l2)
    if not error <= limit:  # a NaN disagrees too
        raise ValueError(
            f"Package '{program.path}' does not agree with its model: relative L2 error "
            f"{error:.2g}, at most {limit:g} is expected in {program.precision}; its weights are "
            'damaged or another model\'s, or they need precision="float32".'
        )
