"""Apple's reinforced sets become sidecars: the same knowledge, for a few per cent of the CPU."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from zoo.reinforced_data.datacompdr.import_shard import (
    CAPTIONER,
    ImportSettings,
    UnusedSample,
    import_shard,
    stored_teachers,
)
from zoo.reinforced_data.engine.claims import SidecarLock
from zoo.reinforced_data.engine.locations import ShardTask, Workplace, find_tasks
from zoo.reinforced_data.engine.progress import Meter, Progress, Settled, Step
from zoo.reinforced_data.shards.index import ShardIndex
from zoo.reinforced_data.sidecars.header import SidecarHeader
from zoo.reinforced_data.sidecars.sidecar import Sidecar


@dataclass(frozen=True)
class ImportReport:
    """What a run did; sidecars by path or URL."""

    written: tuple[Path | str, ...]
    kept: tuple[Path | str, ...]
    """Finished sidecars of earlier runs, checked and left as they were."""
    elsewhere: tuple[Path | str, ...]
    """Sidecars that another run is writing."""
    samples: int
    """Samples of the written sidecars."""
    unused: tuple[UnusedSample, ...]
    """Samples without reinforcement and, with on_error="skip", with unusable content."""
    seconds: float


def import_shards(
    shards: str | Path | Sequence[str | Path],
    settings: ImportSettings,
    *,
    output: str | Path | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> ImportReport:
    """Write the sidecar of every image shard that has none yet, into `output` or beside it.

    A sidecar appears when it is whole, so a run that was stopped or killed is taken up by the same
    call. Samples for which Apple stored nothing are not valid. The same content gives the same
    bytes. Shards and `output` may be URLs.

    Raises ValueError when nothing matches `shards`; for a shard without one usable sample; when a
    finished sidecar was made otherwise or is damaged; and, with on_error="stop", for content that
    cannot be used.
    """
    tasks = find_tasks(shards, output=output, overwrite=False)
    meter = Meter(tasks, on_progress)
    written, kept, elsewhere = [], [], []
    unused: list[UnusedSample] = []
    with tempfile.TemporaryDirectory() as folder:
        for task in tasks:
            workplace = Workplace(task, Path(folder))
            lock = SidecarLock(workplace.sidecar)
            if not lock.acquire():
                elsewhere.append(task.sidecar)
                continue
            try:
                if _is_finished(task, settings):
                    meter.take(Settled(task.number))
                    kept.append(task.sidecar)
                else:
                    unused += _import(workplace, settings, meter)
                    written.append(task.sidecar)
            finally:
                workplace.clear()
                lock.release()
    return ImportReport(
        written=tuple(written),
        kept=tuple(kept),
        elsewhere=tuple(elsewhere),
        samples=meter.samples_done,
        unused=tuple(unused),
        seconds=meter.seconds,
    )


def _import(workplace: Workplace, settings: ImportSettings, meter: Meter) -> list[UnusedSample]:
    def count(samples: int, samples_of_shard: int) -> None:
        meter.take(Step(workplace.task.number, samples, samples / samples_of_shard))

    unused = import_shard(workplace.shard(), workplace.sidecar, settings, count)
    workplace.publish()
    return unused


def _is_finished(task: ShardTask, settings: ImportSettings) -> bool:
    """Say whether there is a sidecar, after checking it as far as that costs no copy from a URL.

    Raises ValueError when it is damaged, was made with other settings or from another shard.
    """
    header = task.stored_header()
    if header is None:
        return False
    _check_settings(task, header, settings)
    if isinstance(task.sidecar, Path) and isinstance(task.shard, Path):
        sidecar = Sidecar.open(task.sidecar)
        sidecar.verify()
        sidecar.check_shard(task.shard, ShardIndex(task.shard, "skip").keys)
    return True


def _check_settings(task: ShardTask, header: SidecarHeader, settings: ImportSettings) -> None:
    asked = {"captioner": CAPTIONER, "teachers": stored_teachers(settings)}
    if isinstance(task.shard, Path):
        asked["shard_bytes"] = task.size
    for name, now in asked.items():
        before = getattr(header, name)
        if before != now:
            raise ValueError(
                f"'{task.sidecar}' was made with {name} = {before}, but it is {now} now; ask for "
                "the same or delete the file."
            )
