"""`zoo export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import tyro

from zoo.commands.console import say, show_table, status, weights_argument
from zoo.eval.results import Record, append_result, result_record
from zoo.export.coreml import DeploymentTarget, Precision, export_coreml
from zoo.export.package_report import EXECUTED_BY, ExportReport, TowerReport
from zoo.models.mobileclip.load import load_image_text_model

RESULTS = Path("results.jsonl")


def export(
    model: Annotated[str, tyro.conf.Positional],
    folder: Annotated[Path, tyro.conf.Positional],
    /,
    *,
    weights: str = "published",
    precision: Precision = "float16",
    minimum_deployment_target: DeploymentTarget = "iOS17",
    results: Path = RESULTS,
) -> None:
    """Write image and text tower as Core ML packages, execute both from the file and compare.

    Args:
        model: a name of `zoo list`.
        folder: where the two .mlpackage folders go.
        weights: "published", "none" (random) or a file.
        precision: of weights and arithmetic inside the packages.
        minimum_deployment_target: oldest system the packages run on.
        results: file that the JSON lines are appended to.
    """
    loaded = load_image_text_model(model, weights=weights_argument(weights), reparameterize=False)
    status(f"converting {loaded.card.name} and executing the packages from their files")
    report = export_coreml(
        loaded,
        folder,
        precision=precision,
        minimum_deployment_target=minimum_deployment_target,
    )
    towers = {"image": report.image, "text": report.text}
    rows = [_row(outcome) for outcome in towers.values()]
    show_table(["package", "MB", "relative L2", "cosine", "seconds"], rows)
    say(f"compared by {EXECUTED_BY}")
    for tower, outcome in towers.items():
        append_result(results, _record(report, tower, outcome))


def _record(report: ExportReport, tower: str, outcome: TowerReport) -> Record:
    return result_record(
        model=report.model,
        dataset="synthetic input",
        protocol={
            "task": "export",
            "tower": tower,
            "package": str(outcome.package),
            "precision": report.precision,
            "minimum_deployment_target": report.minimum_deployment_target,
            "examples": outcome.verification.examples,
            "ops": outcome.op_histogram,
            "executed_by": EXECUTED_BY,
        },
        metrics={
            "package_bytes": outcome.bytes,
            "relative_l2": outcome.verification.relative_l2,
            "cosine": outcome.verification.cosine,
            "largest_activation": outcome.verification.largest_activation,
            "conversion_seconds": outcome.conversion_seconds,
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


def _row(tower: TowerReport) -> list[str]:
    return [
        str(tower.package),
        f"{tower.bytes / 1e6:.1f}",
        f"{tower.verification.relative_l2:.1e}",
        f"{tower.verification.cosine:.6f}",
        f"{tower.conversion_seconds:.0f}",
    ]
