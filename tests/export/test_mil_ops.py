"""Every op of the interpreter computes what torch computes, read back from a saved package.

.venv/bin/pytest tests/export/test_mil_ops.py
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from zoo.export.mil_interpreter import OPS, load_package
from zoo.export.mil_ops import OpInputs
from zoo.export.toolchain import import_coremltools, quiet_conversion

SHAPE = (2, 4, 6)
Build = Callable[[Any, Any], Any]
"""From coremltools' builder and the input variable to the output variable."""


def draw(*shape: int) -> np.ndarray:
    return np.random.default_rng(7).standard_normal(shape).astype(np.float32)


def tensor(*shape: int) -> Tensor:
    return torch.from_numpy(draw(*shape))


WEIGHT, BIAS, KERNEL = draw(5, 6), draw(5), draw(8, 2, 3)
TABLE, IMAGE_KERNEL = draw(9, 5), draw(3, 2, 3, 2)
VARIANCE = np.abs(draw(4)) + 0.5
MASK = np.where(np.tri(4, dtype=bool), 0.0, -3e4).astype(np.float32)


def attention(x: Tensor, mask: Tensor) -> Tensor:
    return ((x @ x.mT) * x.shape[-1] ** -0.5 + mask).softmax(-1) @ x


CASES: list[tuple[str, Build, Callable[[Tensor], Tensor]]] = [
    ("abs", lambda mb, x: mb.abs(x=x), torch.abs),
    ("relu", lambda mb, x: mb.relu(x=x), F.relu),
    ("sigmoid", lambda mb, x: mb.sigmoid(x=x), torch.sigmoid),
    ("sqrt", lambda mb, x: mb.sqrt(x=mb.abs(x=x)), lambda x: x.abs().sqrt()),
    ("sin", lambda mb, x: mb.sin(x=x), torch.sin),
    ("cos", lambda mb, x: mb.cos(x=x), torch.cos),
    ("cast", lambda mb, x: mb.cast(x=mb.cast(x=x, dtype="int32"), dtype="fp32"), torch.trunc),
    ("cast", lambda mb, x: mb.cast(x=mb.cast(x=x, dtype="fp16"), dtype="fp32"), lambda x: x.half()),
    ("add", lambda mb, x: mb.add(x=x, y=np.float32(1.5)), lambda x: x + 1.5),
    ("sub", lambda mb, x: mb.sub(x=x, y=draw(4, 1)), lambda x: x - tensor(4, 1)),
    ("mul", lambda mb, x: mb.mul(x=x, y=x), torch.square),
    ("real_div", lambda mb, x: mb.real_div(x=x, y=draw(6)), lambda x: x / tensor(6)),
    ("maximum", lambda mb, x: mb.maximum(x=x, y=np.float32(0.1)), lambda x: x.clamp_min(0.1)),
    ("minimum", lambda mb, x: mb.minimum(x=x, y=np.float32(0.1)), lambda x: x.clamp_max(0.1)),
    (
        "greater_equal",
        lambda mb, x: mb.cast(x=mb.greater_equal(x=x, y=np.float32(0)), dtype="fp32"),
        lambda x: (x >= 0).float(),
    ),
    (
        "greater",  # which equal ones are not
        lambda mb, x: mb.cast(x=mb.greater(x=mb.relu(x=x), y=np.float32(0)), dtype="fp32"),
        lambda x: (x > 0).float(),
    ),
    (
        "not_equal",
        lambda mb, x: mb.cast(x=mb.not_equal(x=mb.relu(x=x), y=np.float32(0)), dtype="fp32"),
        lambda x: (x > 0).float(),
    ),
    (
        "select",
        lambda mb, x: mb.select(
            cond=mb.greater_equal(x=x, y=np.float32(0)), a=x, b=mb.mul(x=x, y=x)
        ),
        lambda x: torch.where(x >= 0, x, x * x),
    ),
    (
        "reduce_mean",
        lambda mb, x: mb.reduce_mean(x=x, axes=[0, -1], keep_dims=True),
        lambda x: x.mean((0, 2), keepdim=True),
    ),
    ("reduce_sum", lambda mb, x: mb.reduce_sum(x=x, axes=[1], keep_dims=False), lambda x: x.sum(1)),
    ("reduce_sum", lambda mb, x: mb.reduce_sum(x=x, keep_dims=False), lambda x: x.sum()),
    (
        "reduce_max",
        lambda mb, x: mb.reduce_max(x=x, axes=[-1], keep_dims=True),
        lambda x: x.amax(-1, True),
    ),
    (
        "reduce_l2_norm",
        lambda mb, x: mb.reduce_l2_norm(x=x, axes=[-1], keep_dims=True),
        lambda x: x.norm(dim=-1, keepdim=True),
    ),
    (
        "reduce_argmax",
        lambda mb, x: mb.cast(x=mb.reduce_argmax(x=x, axis=1, keep_dims=False), dtype="fp32"),
        lambda x: x.argmax(1).float(),
    ),
    ("gelu", lambda mb, x: mb.gelu(x=x, mode="EXACT"), F.gelu),
    (
        "gelu",
        lambda mb, x: mb.gelu(x=x, mode="TANH_APPROXIMATION"),
        lambda x: F.gelu(x, approximate="tanh"),
    ),
    ("softmax", lambda mb, x: mb.softmax(x=x, axis=1), lambda x: x.softmax(1)),
    (
        "linear",
        lambda mb, x: mb.linear(x=x, weight=WEIGHT, bias=BIAS),
        lambda x: F.linear(x, torch.from_numpy(WEIGHT), torch.from_numpy(BIAS)),
    ),
    ("matmul", lambda mb, x: mb.matmul(x=x, y=x, transpose_y=True), lambda x: x @ x.mT),
    ("matmul", lambda mb, x: mb.matmul(x=x, y=x, transpose_x=True), lambda x: x.mT @ x),
    (
        "conv",  # one spatial axis, unequal padding, groups
        lambda mb, x: mb.conv(x=x, weight=KERNEL, pad_type="custom", pad=[2, 1], groups=2),
        lambda x: F.conv1d(F.pad(x, (2, 1)), torch.from_numpy(KERNEL), groups=2),
    ),
    (
        "conv",  # two spatial axes with their own strides, dilations and paddings
        lambda mb, x: mb.conv(
            x=mb.reshape(x=x, shape=[1, 2, 4, 6]),
            weight=IMAGE_KERNEL,
            bias=draw(3),
            strides=[1, 2],
            dilations=[1, 3],
            pad_type="custom",
            pad=[1, 1, 2, 2],
        ),
        lambda x: F.conv2d(
            x.reshape(1, 2, 4, 6),
            torch.from_numpy(IMAGE_KERNEL),
            tensor(3),
            stride=(1, 2),
            dilation=(1, 3),
            padding=(1, 2),
        ),
    ),
    (
        "conv",
        lambda mb, x: mb.conv(x=x, weight=draw(3, 4, 1), pad_type="valid"),
        lambda x: F.conv1d(x, tensor(3, 4, 1)),
    ),
    (
        "max_pool",  # two spatial axes; what is padded is never the largest
        lambda mb, x: mb.max_pool(
            x=mb.reshape(x=mb.sub(x=x, y=np.float32(9)), shape=[1, 2, 4, 6]),
            kernel_sizes=[3, 2],
            strides=[1, 2],
            pad_type="custom",
            pad=[1, 1, 1, 1],
        ),
        lambda x: F.max_pool2d(x.reshape(1, 2, 4, 6) - 9, (3, 2), (1, 2), padding=1),
    ),
    (
        "conv_transpose",  # two spatial axes with their own strides
        lambda mb, x: mb.conv_transpose(
            x=mb.reshape(x=x, shape=[1, 2, 4, 6]),
            weight=draw(2, 3, 2, 3),
            bias=draw(3),
            strides=[2, 3],
            pad_type="valid",
        ),
        lambda x: F.conv_transpose2d(
            x.reshape(1, 2, 4, 6), tensor(2, 3, 2, 3), tensor(3), stride=(2, 3)
        ),
    ),
    (
        "batch_norm",
        lambda mb, x: mb.batch_norm(
            x=x, mean=draw(4), variance=VARIANCE, gamma=draw(4), beta=draw(4), epsilon=1e-3
        ),
        lambda x: F.batch_norm(
            x, tensor(4), torch.from_numpy(VARIANCE), tensor(4), tensor(4), eps=1e-3
        ),
    ),
    (
        "layer_norm",
        lambda mb, x: mb.layer_norm(x=x, axes=[-1], gamma=draw(6), beta=draw(6), epsilon=1e-3),
        lambda x: F.layer_norm(x, (6,), tensor(6), tensor(6), eps=1e-3),
    ),
    (
        "layer_norm",  # over a middle axis, as a channels-first norm
        lambda mb, x: mb.layer_norm(x=x, axes=[1], gamma=draw(4), beta=draw(4), epsilon=1e-3),
        lambda x: F.layer_norm(x.mT, (4,), tensor(4), tensor(4), eps=1e-3).mT,
    ),
    (
        "scaled_dot_product_attention",
        lambda mb, x: mb.scaled_dot_product_attention(query=x, key=x, value=x, attn_mask=MASK),
        lambda x: attention(x, torch.from_numpy(MASK)),
    ),
    ("reshape", lambda mb, x: mb.reshape(x=x, shape=[8, -1]), lambda x: x.reshape(8, 6)),
    ("transpose", lambda mb, x: mb.transpose(x=x, perm=[2, -3, -2]), lambda x: x.permute(2, 0, 1)),
    ("expand_dims", lambda mb, x: mb.expand_dims(x=x, axes=[0, -1]), lambda x: x[None, ..., None]),
    (
        "squeeze",
        lambda mb, x: mb.squeeze(x=mb.reshape(x=x, shape=[1, 8, 1, 6, 1]), axes=[0, -1]),
        lambda x: x.reshape(8, 1, 6),
    ),
    (
        "squeeze",
        lambda mb, x: mb.squeeze(x=mb.reshape(x=x, shape=[1, 8, 1, 6, 1])),
        lambda x: x.reshape(8, 6),
    ),
    ("tile", lambda mb, x: mb.tile(x=x, reps=[1, 3, 2]), lambda x: x.repeat(1, 3, 2)),
    (
        "concat",
        lambda mb, x: mb.concat(values=[x, x, x], axis=1),
        lambda x: torch.cat([x, x, x], 1),
    ),
    (
        "concat",  # of numbers without an axis
        lambda mb, x: mb.concat(
            values=[mb.reduce_sum(x=x, keep_dims=False), mb.reduce_max(x=x, keep_dims=False)],
            axis=0,
        ),
        lambda x: torch.stack([x.sum(), x.max()]),
    ),
    (
        "pad",  # the last axes, each end by its own
        lambda mb, x: mb.pad(x=x, pad=[0, 1, 2, 3], mode="constant", constant_val=np.float32(7)),
        lambda x: F.pad(x, (2, 3, 0, 1), value=7),
    ),
    ("stack", lambda mb, x: mb.stack(values=[x, x], axis=-1), lambda x: torch.stack([x, x], -1)),
    (
        "stack",
        lambda mb, x: mb.stack(values=[mb.reduce_sum(x=x, keep_dims=False)] * 2, axis=0),
        lambda x: x.sum().expand(2),
    ),
    (
        "split",
        lambda mb, x: mb.split(x=x, split_sizes=[1, 5], axis=-1)[1],
        lambda x: x[..., 1:],
    ),
    ("split", lambda mb, x: mb.split(x=x, num_splits=2, axis=1)[0], lambda x: x[:, :2]),
    (
        "slice_by_index",
        lambda mb, x: mb.slice_by_index(x=x, begin=[0, 1, -4], end=[1, 3, -1]),
        lambda x: x[0:1, 1:3, -4:-1],
    ),
    (
        "slice_by_index",  # a squeezed axis ignores its end, masked ends are open
        lambda mb, x: mb.slice_by_index(
            x=x,
            begin=[0, 2, 1],
            end=[0, 0, 0],
            begin_mask=[True, False, False],
            end_mask=[True, False, True],
            squeeze_mask=[False, True, False],
        ),
        lambda x: x[:, 2, 1:],
    ),
    (
        "slice_by_index",  # backwards
        lambda mb, x: mb.slice_by_index(
            x=x, begin=[0, 3, 5], end=[2, 0, 0], stride=[1, -1, -2], end_mask=[True, False, True]
        ),
        lambda x: x[:, 1:].flip(1)[..., [5, 3, 1]],
    ),
    (
        "gather",
        lambda mb, x: mb.gather(x=x, indices=np.array([[3, 0], [1, 1]], np.int32), axis=1),
        lambda x: x[:, [[3, 0], [1, 1]]],
    ),
    ("gather", lambda mb, x: mb.gather(x=x, indices=np.int32(2), axis=-1), lambda x: x[..., 2]),
    (
        "gather_nd",
        lambda mb, x: mb.gather_nd(x=x, indices=np.array([[0, 3], [1, 2]], np.int32)),
        lambda x: x[[0, 1], [3, 2]],
    ),
]


def save(build: Build, folder: Path) -> Path:
    """Save a package with input `x` of SHAPE and exactly the ops that `build` adds."""
    ct = import_coremltools()
    from coremltools.converters.mil import Builder as mb

    @mb.program(input_specs=[mb.TensorSpec(shape=SHAPE)], opset_version=ct.target.iOS18)
    def program(x: Any) -> Any:
        return build(mb, x)

    with quiet_conversion():
        package = ct.convert(
            program,
            minimum_deployment_target=ct.target.iOS18,
            pass_pipeline=ct.PassPipeline.EMPTY,
            skip_model_load=True,
        )
    path = folder / "op.mlpackage"
    package.save(str(path))
    return path


@pytest.mark.parametrize(
    ("op", "build", "expected"), CASES, ids=[f"{i}-{case[0]}" for i, case in enumerate(CASES)]
)
def test_op_from_file_equals_torch(
    op: str, build: Build, expected: Callable[[Tensor], Tensor], tmp_path: Path
) -> None:
    program = load_package(save(build, tmp_path))
    x = torch.randn(SHAPE, generator=torch.Generator().manual_seed(1)) * 2
    assert op in program.op_histogram
    output = program.run({"x": x}).outputs[program.output_names[0]]
    torch.testing.assert_close(output, expected(x).float(), rtol=1e-5, atol=1e-6)


def test_every_op_of_the_table_has_a_case() -> None:
    assert {op for op, _, _ in CASES} == OPS.keys()


def test_half_precision_result_is_rounded_and_its_overflow_is_seen(tmp_path: Path) -> None:
    def build(mb: Any, x: Any) -> Any:
        half = mb.cast(x=x, dtype="fp16")
        return mb.cast(x=mb.mul(x=half, y=half, name="square"), dtype="fp32")

    program = load_package(save(build, tmp_path))
    run = program.run({"x": torch.full(SHAPE, 300.0)})
    assert program.precision == "float16"
    assert run.largest_activation == 300.0**2
    assert run.largest_activation_op == "mul square"
    assert run.outputs[program.output_names[0]].isinf().all()


def test_results_live_until_their_last_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a GB each, at 1024 pixels; but what a later op takes is still there."""

    def build(mb: Any, x: Any) -> Any:
        first = mb.sin(x=x)
        last = first
        for _ in range(8):
            last = mb.sin(x=last)
        return mb.add(x=first, y=last)

    results: weakref.WeakSet[Tensor] = weakref.WeakSet()
    alive = []

    def counted(inputs: OpInputs) -> Tensor:
        result = inputs.tensor("x").sin()
        results.add(result)
        alive.append(len(results))
        return result

    monkeypatch.setitem(OPS, "sin", counted)
    program = load_package(save(build, tmp_path))
    x = torch.randn(SHAPE)
    output = program.run({"x": x}).outputs[program.output_names[0]]
    assert len(alive) == 9 and max(alive) == 3  # the first, one and the next
    expected = x.sin()
    for _ in range(8):
        expected = expected.sin()
    torch.testing.assert_close(output, x.sin() + expected)


def test_unknown_op_is_named_with_its_package(tmp_path: Path) -> None:
    path = save(lambda mb, x: mb.erf(x=x), tmp_path)
    with pytest.raises(ValueError, match=r"op\.mlpackage.*'erf'"):
        load_package(path)


def test_unknown_parameter_value_is_named(tmp_path: Path) -> None:
    path = save(lambda mb, x: mb.gelu(x=x, mode="SIGMOID_APPROXIMATION"), tmp_path)
    with pytest.raises(ValueError, match="mode='SIGMOID_APPROXIMATION'"):
        load_package(path).run({"x": torch.zeros(SHAPE)})


@pytest.mark.parametrize("inputs", [{"x": torch.zeros(3)}, {"y": torch.zeros(SHAPE)}, {}])
def test_wrong_inputs_are_named_with_what_is_expected(
    inputs: dict[str, Tensor], tmp_path: Path
) -> None:
    path = save(lambda mb, x: mb.relu(x=x), tmp_path)
    with pytest.raises(ValueError, match=r"takes \{'x': \(2, 4, 6\)\}"):
        load_package(path).run(inputs)
