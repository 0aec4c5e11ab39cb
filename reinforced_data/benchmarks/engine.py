"""How much of a teacher's bare forward throughput the engine keeps.

The bare forward gets uint8 views that are ready in memory, and the texts, in the engine's own
batches; the engine reads shards, decodes, replays, embeds, encodes and writes. Both embed the same
number of views and texts in each round.
"""

from __future__ import annotations

import itertools
import resource
import shutil
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from zoo.reinforced_data.engine.reinforce import reinforce
from zoo.reinforced_data.engine.teachers import Teacher
from zoo.reinforced_data.shards.find import find_shards
from zoo.reinforced_data.shards.index import ShardIndex, load_picture
from zoo.reinforced_data.shards.sample import Sample
from zoo.reinforced_data.shards.write import write_shards

BARE = "bare forward"

_SHARDS = 2


@dataclass(frozen=True)
class EngineRow:
    """One way to embed the views and texts of the samples."""

    name: str
    samples_per_second: float
    """Median of the rounds, by wall time."""
    slowest: float
    """Samples a second in the slowest round."""
    fastest: float
    cpu_ms_per_sample: float
    """Processor time of this process and its workers, median."""
    of_bare: float
    """Throughput as a fraction of the bare forward's, median of the rounds' ratios."""


def measure_engine(
    shards: str | Sequence[str],
    teacher: Teacher,
    *,
    samples: int,
    augmentations: int,
    batch_size: int,
    workers: Sequence[int],
    rounds: int,
    folder: Path,
    on_round: Callable[[int, int], None],
) -> list[EngineRow]:
    """Time the bare forward and the engine with each number of `workers`, interleaved.

    The first `samples` usable samples of `shards` are copied into two shards in `folder`. A round
    of each comes before those that count. `on_round(done, all)` is called after each. Raises
    ValueError when there are fewer than two samples.
    """
    copies = _copy(shards, samples, folder / "shards")
    texts = [text for shard in copies for text in _first_captions(shard)]
    at_once = max(1, batch_size // augmentations)
    shape = (at_once * augmentations, 3, teacher.image_size, teacher.image_size)
    views = torch.randint(256, shape, dtype=torch.uint8)

    def bare() -> None:
        for start in range(0, len(texts), at_once):
            part = texts[start : start + at_once]
            _forward(teacher, part, views[: len(part) * augmentations], batch_size)

    def engine(count: int) -> None:
        reinforce(
            folder / "shards",
            teachers=[teacher],
            augmentations=augmentations,
            batch_size=batch_size,
            output=folder / "sidecars",
            workers=count,
        )
        shutil.rmtree(folder / "sidecars")

    ways: dict[str, Callable[[], None]] = {BARE: bare}
    for count in workers:
        ways[f"engine, {count} workers"] = lambda count=count: engine(count)
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for done in range(rounds + 1):
        for name, way in ways.items():
            measured = _time(way)
            if done:
                times[name].append(measured)
        on_round(done + 1, rounds + 1)
    return [_row(name, times[name], times[BARE], len(texts)) for name in ways]


def _copy(shards: str | Sequence[str], samples: int, folder: Path) -> list[Path]:
    """Copy samples into shards of their own, so that every round does a whole number of them."""
    found = list(itertools.islice(_usable(shards), samples))
    if len(found) < _SHARDS:
        raise ValueError(f"{shards} holds {len(found)} samples with captions; give at least 2.")
    return write_shards(found, folder, samples_per_shard=-(-len(found) // _SHARDS))


def _usable(shards: str | Sequence[str]) -> Iterator[Sample]:
    for shard in find_shards(shards):
        index = ShardIndex(shard, "skip")
        for i in range(len(index)):
            try:
                sample, _ = load_picture(index, i)
            except ValueError:
                continue
            key = f"{shard.stem}-{i:06d}"
            yield Sample(key=key, image=sample.image, captions=sample.captions)


def _first_captions(shard: Path) -> list[str]:
    index = ShardIndex(shard)
    return [index.read(i).captions[0] for i in range(len(index))]


def _forward(teacher: Teacher, part: Sequence[str], views: torch.Tensor, batch_size: int) -> None:
    for batch in views.split(batch_size):
        teacher.encode_pixels(batch)
    teacher.encode_texts(part)


def _time(run: Callable[[], None]) -> tuple[float, float]:
    """Wall and processor seconds."""
    wall, processor = time.perf_counter(), _processor_seconds()
    run()
    return time.perf_counter() - wall, _processor_seconds() - processor


def _processor_seconds() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def _row(
    name: str,
    times: Sequence[tuple[float, float]],
    bare: Sequence[tuple[float, float]],
    samples: int,
) -> EngineRow:
    rates = sorted(samples / wall for wall, _ in times)
    ratios = [reference / wall for (wall, _), (reference, _) in zip(times, bare, strict=True)]
    return EngineRow(
        name=name,
        samples_per_second=statistics.median(rates),
        slowest=rates[0],
        fastest=rates[-1],
        cpu_ms_per_sample=1e3 * statistics.median(cpu for _, cpu in times) / samples,
        of_bare=statistics.median(ratios),
    )
