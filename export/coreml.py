"""Core ML packages of a model's parts, verified from their files before they replace older ones."""

from __future__ import annotations

import platform
import tempfile
import time
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch

from zoo.export.mil_interpreter import load_package
from zoo.export.package_metadata import describe_package
from zoo.export.package_report import ExportReport, PartReport, package_bytes
from zoo.export.part import Part
from zoo.export.parts import ExportableModel, parts_of
from zoo.export.toolchain import import_coremltools, quiet_conversion
from zoo.export.verify import verify_package
from zoo.export.weight_seal import seal_weights
from zoo.models.card import ModelCard
from zoo.models.checkpoint import weights_sha256

Precision = Literal["float16", "float32"]
DeploymentTarget = Literal["iOS16", "iOS17", "iOS18"]


def export_coreml(
    model: ExportableModel,
    folder: str | Path,
    *,
    precision: Precision = "float16",
    minimum_deployment_target: DeploymentTarget = "iOS17",
) -> ExportReport:
    """Write the parts of `model` into `folder`, a package each.

    The reparameterized copy of `model` is converted; `model` stays as it is. The input `image` is
    an RGB picture of the model's size: scaling to [0, 1] and normalisation are inside.

    - Image-text models: `image_encoder.mlpackage`, from `image` to `image_features` float32 (1, D),
      and `text_encoder.mlpackage`, from `text` int32 (1, context), tokens as `model.tokenize` gives
      them, to `text_features` float32 (1, D). Features have unit length, so that their dot product
      is the cosine.
    - SAM-CLIP: `image_encoder.mlpackage`, one pass of the tower, also gives `patch_features`
      float32 (1, N, D) and `mask_embedding`, which `mask_decoder.mlpackage` takes with `points`,
      `point_labels` and a mask to `masks` float32 (1, 4, H, W), logits, and `iou_predictions`.
    - FastVLM: `vision_encoder.mlpackage`, tower and projector, from `image` to `visual_tokens`
      float32 (1, N, hidden). A tower alone gives `image_features` float32 (1, N, width).

    All packages are executed from their files and compared with `model` before any replaces an
    older one.

    Raises ValueError for unknown options, without coremltools, or where a package disagrees.
    """
    _check_option("precision", precision, Precision)
    _check_option("minimum_deployment_target", minimum_deployment_target, DeploymentTarget)
    coremltools = import_coremltools()
    folder = _make_folder(folder)
    options = _Options(precision, minimum_deployment_target, weights_sha256(model))
    with tempfile.TemporaryDirectory(dir=folder, prefix=".export-") as staging:
        reports = {
            part.name: _export_part(part, model.card, Path(staging), options)
            for part in parts_of(model)
        }
        reports = {name: _install(report, folder) for name, report in reports.items()}
    return ExportReport(
        model=model.card.name,
        weights_sha256=options.weights_sha256,
        precision=precision,
        minimum_deployment_target=minimum_deployment_target,
        versions=_versions(coremltools.__version__),
        parts=reports,
    )


@dataclass(frozen=True)
class _Options:
    precision: str
    target: str
    weights_sha256: str


def _export_part(part: Part, card: ModelCard, folder: Path, options: _Options) -> PartReport:
    package = folder / part.package
    start = time.perf_counter()
    converted = _convert(part, options)
    describe_package(converted, part, card, options.weights_sha256)
    converted.save(str(package))
    seal_weights(package)
    seconds = time.perf_counter() - start
    return PartReport(
        package=package,
        bytes=package_bytes(package),
        op_histogram=load_package(package).op_histogram,
        verification=verify_package(package, part.reference, part.examples, tables=part.tables),
        conversion_seconds=seconds,
    )


def _convert(part: Part, options: _Options) -> Any:
    import coremltools as ct

    example = zip(part.inputs, part.examples[0], strict=True)
    with quiet_conversion(), torch.no_grad():
        values = tuple(taken.traced(value) for taken, value in example)
        traced = torch.jit.trace(part.module.eval(), values, check_trace=False)
        return ct.convert(
            traced,
            inputs=[taken.declared() for taken in part.inputs],
            outputs=[ct.TensorType(name=given.name, dtype=np.float32) for given in part.outputs],
            minimum_deployment_target=ct.target[options.target],
            compute_precision=_compute_precision(part, options.precision),
            skip_model_load=True,  # only a Mac can load it
        )


def _compute_precision(part: Part, precision: str) -> Any:
    """Of every op: that of the package, but float32 in the submodule that needs it."""
    import coremltools as ct
    from coremltools.converters.mil.mil.scope import ScopeSource

    if precision == "float32" or part.exact is None:
        return ct.precision[precision.upper()]

    def is_halved(op: Any) -> bool:
        return part.exact not in op.scopes.get(ScopeSource.TORCHSCRIPT_MODULE_NAME, ())

    return ct.transform.FP16ComputePrecision(op_selector=is_halved)


def _install(report: PartReport, folder: Path) -> PartReport:
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
