"""`zoo bench storage`: what stored reinforcement costs, and what int8 does to the gradient."""

from __future__ import annotations

import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import torch
import tyro

from zoo.commands.bench import RESULTS
from zoo.commands.console import heading, show_table, status
from zoo.commands.storage_quality import QualityRow, measure_quality
from zoo.eval.results import append_result, result_record
from zoo.reinforced_data.benchmarks.storage import StorageRow, measure_storage
from zoo.reinforced_data.benchmarks.stored_layouts import write_layouts

_QUICK_SAMPLES = 400
_QUICK_PICKS = 400
_QUICK_BATCH = 1024


def storage(
    *,
    shards: Annotated[tuple[str, ...], tyro.conf.arg(metavar="SHARDS…")],
    samples: int = 10_000,
    rounds: int = 7,
    picks: int = 2000,
    batch_size: int = 2048,
    quick: bool = False,
    results: Path = RESULTS,
) -> None:
    """Compare the int8 sidecar with both layouts that Apple published; interleaved rounds.

    Stores 10 augmentations, 5 + 1 captions and 2 teachers of 768 numbers of each photograph in a
    temporary folder, 160 kB a photograph. Embeddings are drawn with CLIP's statistics.

    Args:
        shards: photographs with captions: folders, globs, brace patterns or tars.
        samples: photographs at most.
        rounds: repetitions of every layout.
        picks: training samples that are read in a round.
        batch_size: of the distillation loss whose gradients are compared.
        quick: 400 photographs, 400 training samples, 5 rounds, a batch of 1024.
        results: file that the JSON lines are appended to.
    """
    if quick:
        samples, picks, rounds = min(samples, _QUICK_SAMPLES), _QUICK_PICKS, 5
        batch_size = min(batch_size, _QUICK_BATCH)
    if min(samples, rounds, picks, batch_size) < 1:
        raise ValueError("samples, rounds, picks and batch-size are counts; give at least 1.")
    with tempfile.TemporaryDirectory() as folder:
        status(f"storing up to {samples} photographs in three layouts")
        layouts = write_layouts(shards, Path(folder), samples)
        rows = measure_storage(
            layouts,
            rounds=rounds,
            picks=picks,
            on_round=lambda done, total: status(f"round {done}/{total}"),
        )
    status("comparing gradients")
    quality = measure_quality(batch_size)
    dataset = " ".join(shards)
    protocol = {"samples": layouts.samples, "rounds": rounds, "picks": picks}
    for row in rows:
        _append(results, row.layout, dataset, protocol, row)
    for row in quality:
        name = f"{row.storage}, student {row.student}"
        _append(results, name, "CLIP-like embeddings", {"batch_size": batch_size}, row)
    heading(f"{layouts.samples} photographs, {torch.get_num_threads()} threads of torch")
    show_table(_STORAGE_COLUMNS, [_storage_cells(row) for row in rows])
    heading(f"distillation gradient against fp32 targets, batch {batch_size}")
    show_table(_QUALITY_COLUMNS, [_quality_cells(row) for row in quality])


_UNITS = {
    "embedding_bytes": "bytes a sample",
    "stored_bytes": "bytes a sample",
    "read_bytes": "bytes a sample",
    "read_pages": "pages of 4 KiB a sample",
    "cpu_us": "µs a sample",
    "cpu_us_lowest": "µs a sample",
    "cpu_us_highest": "µs a sample",
    "gradient_cosine": "cosine",
    "gradient_error": "relative L2",
    "divergence": "nats",
    "target_entropy": "nats",
}


def _append(
    results: Path, model: str, dataset: str, protocol: dict[str, int], row: StorageRow | QualityRow
) -> None:
    metrics = {name: value for name, value in asdict(row).items() if name in _UNITS}
    units = {name: _UNITS[name] for name in metrics}
    record = result_record(
        model=model, dataset=dataset, protocol=protocol, metrics=metrics, units=units
    )
    append_result(results, record)


_STORAGE_COLUMNS = (
    "layout",
    "embeddings, kB",
    "stored, kB",
    "read, kB",
    "read, 4 KiB pages",
    "CPU, µs (lowest…highest)",
)
_QUALITY_COLUMNS = ("storage", "student", "1 - cosine", "relative error", "KL, nats", "entropy")


def _storage_cells(row: StorageRow) -> list[str]:
    return [
        row.layout,
        f"{row.embedding_bytes / 1e3:.1f}",
        f"{row.stored_bytes / 1e3:.1f}",
        f"{row.read_bytes / 1e3:.1f}",
        f"{row.read_pages:.1f}",
        f"{row.cpu_us:.1f} ({row.cpu_us_lowest:.1f}…{row.cpu_us_highest:.1f})",
    ]


def _quality_cells(row: QualityRow) -> list[str]:
    return [
        row.storage,
        row.student,
        f"{1 - row.gradient_cosine:.1e}",
        f"{row.gradient_error:.1e}",
        f"{row.divergence:.1e}",
        f"{row.target_entropy:.2f}",
    ]
