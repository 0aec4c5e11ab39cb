"""`zoo bench engine`: how much of a teacher's bare forward throughput `zoo reinforce` keeps."""

from __future__ import annotations

import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import tyro

from zoo.commands.bench import RESULTS
from zoo.commands.console import show_table, status, weights_argument
from zoo.eval.results import append_result, result_record
from zoo.models.load import load_image_text_model
from zoo.reinforced_data.benchmarks.engine import EngineRow, measure_engine
from zoo.reinforced_data.engine.specification import work_device
from zoo.reinforced_data.engine.teachers import zoo_teacher

_QUICK_SAMPLES = 6


def engine(
    *,
    shards: Annotated[tuple[str, ...], tyro.conf.arg(metavar="SHARDS…")],
    model: str = "mobileclip2-s0",
    weights: str = "none",
    samples: int = 24,
    augmentations: int = 10,
    batch_size: int = 60,
    workers: tuple[int, ...] = (0, 1),
    rounds: int = 5,
    quick: bool = False,
    results: Path = RESULTS,
) -> None:
    """Compare the engine on real shards with the teacher's bare forward; interleaved rounds.

    Args:
        shards: photographs with captions: folders, globs, brace patterns or tars.
        model: the teacher, a name of `zoo list`.
        weights: "none" (random), "published" or a file; time does not depend on them.
        samples: photographs at most; every round embeds all of their views.
        augmentations: views a photograph.
        batch_size: views given to the teacher at once.
        workers: numbers of processes that decode and augment, each compared.
        rounds: repetitions of each way.
        quick: 6 photographs, 3 rounds.
        results: file that the JSON lines are appended to.
    """
    if quick:
        samples, rounds = min(samples, _QUICK_SAMPLES), 3
    if min(samples, augmentations, batch_size, rounds) < 1:
        raise ValueError(
            "samples, augmentations, batch-size and rounds are counts; give 1 or more."
        )
    loaded = load_image_text_model(model, weights=weights_argument(weights)).to(work_device())
    with tempfile.TemporaryDirectory() as folder:
        rows = measure_engine(
            shards,
            zoo_teacher(model, loaded, pretrained=weights),
            samples=samples,
            augmentations=augmentations,
            batch_size=batch_size,
            workers=workers,
            rounds=rounds,
            folder=Path(folder),
            on_round=lambda done, total: status(f"round {done}/{total}"),
        )
    protocol = {
        "samples": samples,
        "augmentations": augmentations,
        "batch_size": batch_size,
        "rounds": rounds,
    }
    for row in rows:
        append_result(
            results,
            result_record(
                model=model,
                dataset=" ".join(shards),
                protocol={"benchmark": "engine", "way": row.name, **protocol},
                metrics={name: value for name, value in asdict(row).items() if name != "name"},
                units=_UNITS,
            ),
        )
    show_table(_COLUMNS, [_cells(row) for row in rows])


_UNITS = {
    "samples_per_second": "1/s",
    "slowest": "1/s",
    "fastest": "1/s",
    "cpu_ms_per_sample": "ms",
    "of_bare": "fraction",
}

_COLUMNS = ("way", "samples/s", "slowest", "fastest", "CPU ms/sample", "of bare")


def _cells(row: EngineRow) -> list[str]:
    return [
        row.name,
        f"{row.samples_per_second:.2f}",
        f"{row.slowest:.2f}",
        f"{row.fastest:.2f}",
        f"{row.cpu_ms_per_sample:.0f}",
        f"{row.of_bare:.1%}",
    ]
