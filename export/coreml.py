"""Core ML packages of both towers, verified from their files before they replace older ones."""

from __future__ import annotations

import copy
import platform
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor, nn

from zoo.export.mil_interpreter import load_package
from zoo.export.package_metadata import describe_package
from zoo.export.package_report import ExportReport, TowerReport, package_bytes
from zoo.export.toolchain import import_coremltools, quiet_conversion
from zoo.export.towers import PIXEL_SCALE, ImageTower, TextTower, example_images, example_texts
from zoo.export.verify import verify_package
from zoo.export.weight_seal import seal_weights
from zoo.models.checkpoint import weights_sha256
from zoo.models.image_text_model import ImageTextModel

Precision = Literal["float16", "float32"]
DeploymentTarget = Literal["iOS16", "iOS17", "iOS18"]
IMAGE_PACKAGE = "image_encoder.mlpackage"
TEXT_PACKAGE = "text_encoder.mlpackage"


def export_coreml(
    model: ImageTextModel,
    folder: str | Path,
    *,
    precision: Precision = "float16",
    minimum_deployment_target: DeploymentTarget = "iOS17",
) -> ExportReport:
    """Write `image_encoder.mlpackage` and `text_encoder.mlpackage` into `folder`.

    The reparameterized copy of `model` is converted; `model` stays as it is.

    - Image tower: input `image`, an RGB picture of the model's size (scaling to [0, 1] and
      normalisation are inside); output `image_features` float32 (1, D).
    - Text tower: input `text` int32 (1, context), tokens as `model.tokenize` gives them; output
      `text_features` float32 (1, D).

    Features have unit length, so that their dot product is the cosine. Both packages are executed
    from their files and compared with `model` before either replaces an older one.

    Raises ValueError for unknown options, without coremltools, or where a package disagrees.
    """
    _check_option("precision", precision, Precision)
    _check_option("minimum_deployment_target", minimum_deployment_target, DeploymentTarget)
    coremltools = import_coremltools()
    folder = _make_folder(folder)
    model = copy.deepcopy(model).float().cpu().eval()
    fused = model.reparameterize()
    options = _Options(precision, minimum_deployment_target, weights_sha256(model))
    with tempfile.TemporaryDirectory(dir=folder, prefix=".export-") as staging:
        image = _export_tower(model, _image_tower(model, fused), Path(staging), options)
        text = _export_tower(model, _text_tower(model, fused), Path(staging), options)
        image, text = _install(image, folder), _install(text, folder)
    return ExportReport(
        model=model.card.name,
        weights_sha256=options.weights_sha256,
        precision=precision,
        minimum_deployment_target=minimum_deployment_target,
        versions=_versions(coremltools.__version__),
        image=image,
        text=text,
    )


@dataclass(frozen=True)
class _Options:
    precision: str
    target: str
    weights_sha256: str


@dataclass(frozen=True, kw_only=True)
class _Tower:
    """All that differs between the export of one tower and of another."""

    name: Literal["image", "text"]
    """Also the name of the input; the output is `NAME_features`."""
    package: str
    module: nn.Module
    """What is traced, on `trace_example`."""
    trace_example: Tensor
    input_type: Any
    """The input as coremltools declares it."""
    reference: Callable[[Tensor], Tensor]
    """The model itself, on one of `examples`."""
    examples: Sequence[Tensor]
    """Inputs as the package receives them."""
    tables: Sequence[Tensor] = ()
    """Token embeddings, compared row by row."""


def _image_tower(model: ImageTextModel, fused: ImageTextModel) -> _Tower:
    import coremltools as ct

    size = model.preprocessing.image_size
    examples = example_images(size)

    def reference(pixels: Tensor) -> Tensor:
        image = model.preprocessing.normalize(pixels / 255)
        return model.encode_image(image, normalize=True)

    return _Tower(
        name="image",
        package=IMAGE_PACKAGE,
        module=ImageTower(fused),
        trace_example=examples[0] * PIXEL_SCALE,
        # A scale for each channel is broken (coremltools issue 2461): mean and std are traced.
        input_type=ct.ImageType(
            name="image",
            shape=(1, 3, size, size),
            scale=PIXEL_SCALE,
            color_layout=ct.colorlayout.RGB,
        ),
        reference=reference,
        examples=examples,
    )


def _text_tower(model: ImageTextModel, fused: ImageTextModel) -> _Tower:
    import coremltools as ct

    examples = example_texts(model.card.context_length, model.card.vocab_size)

    def reference(text: Tensor) -> Tensor:
        return model.encode_text(text.long(), normalize=True)

    return _Tower(
        name="text",
        package=TEXT_PACKAGE,
        module=TextTower(fused),
        trace_example=examples[0],
        input_type=ct.TensorType(name="text", shape=tuple(examples[0].shape), dtype=np.int32),
        reference=reference,
        examples=examples,
        tables=[m.weight for m in model.text_encoder.modules() if isinstance(m, nn.Embedding)],
    )


def _export_tower(
    model: ImageTextModel, tower: _Tower, folder: Path, options: _Options
) -> TowerReport:
    package = folder / tower.package
    start = time.perf_counter()
    converted = _convert(tower, options)
    describe_package(converted, model, tower.name, options.weights_sha256)
    converted.save(str(package))
    seal_weights(package)
    seconds = time.perf_counter() - start
    return TowerReport(
        package=package,
        bytes=package_bytes(package),
        op_histogram=load_package(package).op_histogram,
        verification=verify_package(package, tower.reference, tower.examples, tables=tower.tables),
        conversion_seconds=seconds,
    )


def _convert(tower: _Tower, options: _Options) -> Any:
    import coremltools as ct

    with quiet_conversion(), torch.no_grad():
        traced = torch.jit.trace(tower.module.eval(), tower.trace_example, check_trace=False)
        return ct.convert(
            traced,
            inputs=[tower.input_type],
            outputs=[ct.TensorType(name=f"{tower.name}_features", dtype=np.float32)],
            minimum_deployment_target=ct.target[options.target],
            compute_precision=ct.precision[options.precision.upper()],
            skip_model_load=True,  # only a Mac can load it
        )


def _install(report: TowerReport, folder: Path) -> TowerReport:
    """Move a finished package to its place; an older one goes with the staging folder."""
    target = folder / report.package.name
    if target.exists():
        target.rename(report.package.with_suffix(".replaced"))
    return replace(report, package=report.package.rename(target))


def _make_folder(folder: str | Path) -> Path:
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"'{folder}' is a file; name a folder for the Core ML packages.")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _check_option(name: str, value: str, options: Any) -> None:
    if value not in get_args(options):
        raise ValueError(f"Unknown {name} '{value}'; choose one of {', '.join(get_args(options))}.")


def _versions(coremltools_version: str) -> dict[str, str]:
    return {
        "zoo": version("zoo"),
        "torch": torch.__version__,
        "coremltools": coremltools_version,
        "python": platform.python_version(),
    }
