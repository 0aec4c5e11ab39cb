"""`zoo export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import torch
import tyro

from zoo.commands.console import say, show_table, status, weights_argument
from zoo.eval.results import Record, append_result, result_record
from zoo.export.coreml import DeploymentTarget, Precision, export_coreml
from zoo.export.package_report import EXECUTED_BY, ExportReport, PartReport
from zoo.models.card import SamClipCard, Stage
from zoo.models.load import load_model
from zoo.models.registry import get_card

RESULTS = Path("results.jsonl")


def export(
    model: Annotated[str, tyro.conf.Positional],
    folder: Annotated[Path, tyro.conf.Positional],
    /,
    *,
    weights: str = "published",
    stage: Stage | None = None,
    image_size: int | None = None,
    precision: Precision = "float16",
    minimum_deployment_target: DeploymentTarget = "iOS17",
    results: Path = RESULTS,
) -> None:
    """Write a model's towers as Core ML packages, execute them from the file and compare.

    MobileCLIP becomes an image and a text encoder; FastVLM a vision encoder, tower and projector
    in one; FastViTHD its tower; SAM-CLIP one pass for texts and masks, a mask decoder and a text
    encoder.

    Args:
        model: a name of `zoo list`.
        folder: where the .mlpackage folders go.
        weights: "published", "none" (random) or a file or folder.
        stage: which of FastVLM's published weights; 3 by default.
        image_size: side of the picture in pixels; the model's own by default, and of SAM-CLIP
            that of its masks.
        precision: of weights and arithmetic inside the packages.
        minimum_deployment_target: oldest system the packages run on.
        results: file that the JSON lines are appended to.
    """
    card = get_card(model)
    if isinstance(card, SamClipCard) and image_size is None:
        image_size = card.mask_image_size
    loaded = load_model(
        model,
        weights=weights_argument(weights),
        stage=stage,
        image_size=image_size,
        reparameterize=False,
        dtype=torch.float32,
    )
    status(f"converting {loaded.card.name} and executing the packages from their files")
    report = export_coreml(
        loaded,
        folder,
        precision=precision,
        minimum_deployment_target=minimum_deployment_target,
    )
    rows = [_row(part) for part in report.parts.values()]
    show_table(["package", "MB", "relative L2", "cosine", "seconds"], rows)
    say(f"compared by {EXECUTED_BY}")
    for name, part in report.parts.items():
        append_result(results, _record(report, name, part))


def _record(report: ExportReport, name: str, part: PartReport) -> Record:
    return result_record(
        model=report.model,
        dataset="synthetic input",
        protocol={
            "task": "export",
            "tower": name,
            "package": str(part.package),
            "precision": report.precision,
            "minimum_deployment_target": report.minimum_deployment_target,
            "examples": part.verification.examples,
            "ops": part.op_histogram,
            "executed_by": EXECUTED_BY,
        },
        metrics={
            "package_bytes": part.bytes,
            "relative_l2": part.verification.relative_l2,
            "cosine": part.verification.cosine,
            "largest_activation": part.verification.largest_activation,
            "conversion_seconds": part.conversion_seconds,
        },
        units={
            "package_bytes": "bytes",
            "relative_l2": "ratio",
            "cosine": "ratio",
            "largest_activation": "1",
            "conversion_seconds": "s",
        },
        weights_sha256=report.weights_sha256,
    )


def _row(part: PartReport) -> list[str]:
    return [
        str(part.package),
        f"{part.bytes / 1e6:.1f}",
        f"{part.verification.relative_l2:.1e}",
        f"{part.verification.cosine:.6f}",
        f"{part.conversion_seconds:.0f}",
    ]
