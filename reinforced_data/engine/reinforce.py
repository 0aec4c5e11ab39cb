"""The engine: teachers and a captioner look at every picture of a shard, once, into its sidecar."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from zoo.reinforced_data.augmentation.policy import AugmentationPolicy
from zoo.reinforced_data.engine.captioners import Captioner
from zoo.reinforced_data.engine.process_shard import (
    OnError,
    Reinforcement,
    SkippedSample,
    process_shard,
    shard_header,
)
from zoo.reinforced_data.engine.teachers import Teacher
from zoo.reinforced_data.shards.find import find_shards
from zoo.reinforced_data.shards.index import ShardIndex
from zoo.reinforced_data.sidecars.embedding_storage import Storage
from zoo.reinforced_data.sidecars.header import SidecarHeader
from zoo.reinforced_data.sidecars.sidecar import Sidecar, sidecar_path

_PROPERTIES_OF_THE_SHARD = ("shard", "shard_bytes", "samples", "packages")


@dataclass(frozen=True)
class Progress:
    """Where a run stands; finished sidecars of earlier runs count as nothing."""

    shards_done: int
    shards: int
    samples_done: int
    samples_per_second: float
    seconds_left: float
    """Estimated from the bytes of the shards."""


@dataclass(frozen=True)
class ReinforceReport:
    """What a run did."""

    written: tuple[Path, ...]
    kept: tuple[Path, ...]
    """Finished sidecars of earlier runs, checked and left as they were."""
    samples: int
    """Samples of the written sidecars."""
    skipped: tuple[SkippedSample, ...]
    seconds: float


def reinforce(
    shards: str | Path | Sequence[str | Path],
    *,
    teachers: Sequence[Teacher],
    captioner: Captioner | None = None,
    policy: AugmentationPolicy | None = None,
    augmentations: int = 10,
    captions: int = 0,
    seed: int = 0,
    storage: Storage = "int8",
    batch_size: int = 64,
    on_error: OnError = "stop",
    on_progress: Callable[[Progress], None] | None = None,
    overwrite: bool = False,
) -> ReinforceReport:
    """Write the sidecar of every shard that has none yet; the fields of `Reinforcement` say what.

    A sidecar appears when it is whole, so a run that was stopped or killed is taken up by the same
    call. The same shards and settings give the same bytes. `overwrite` makes all of them anew.

    Raises ValueError when nothing matches `shards`; when a finished sidecar was made with other
    settings or is damaged; and, with on_error="stop", for a sample that cannot be used.
    """
    settings = Reinforcement(
        teachers=teachers,
        policy=policy or AugmentationPolicy(),
        augmentations=augmentations,
        captioner=captioner,
        captions=captions,
        seed=seed,
        storage=storage,
        batch_size=batch_size,
        on_error=on_error,
    )
    paths = find_shards(shards)
    kept = [] if overwrite else [path for path in paths if sidecar_path(path).exists()]
    for path in kept:
        _check_finished(path, settings)
    todo = [path for path in paths if path not in set(kept)]
    meter = _Meter(todo, on_progress)
    skipped = [sample for path in todo for sample in process_shard(path, settings, meter.advance)]
    return ReinforceReport(
        written=tuple(map(sidecar_path, todo)),
        kept=tuple(map(sidecar_path, kept)),
        samples=meter.samples_done,
        skipped=tuple(skipped),
        seconds=meter.seconds,
    )


def _check_finished(shard: Path, settings: Reinforcement) -> None:
    """Raise unless the shard's sidecar is sound, belongs to it and was made with `settings`."""
    sidecar = Sidecar.open(sidecar_path(shard))
    sidecar.verify()
    sidecar.check_shard(shard, ShardIndex(shard).keys)
    asked = shard_header(shard, sidecar.header.samples, settings)
    if sidecar.header.shard_bytes != asked.shard_bytes:
        raise ValueError(
            f"'{sidecar.path}' was made from a shard of {sidecar.header.shard_bytes} bytes, but "
            f"'{shard}' has {asked.shard_bytes}: it has changed; overwrite the sidecar."
        )
    for name in (f.name for f in fields(SidecarHeader) if f.name not in _PROPERTIES_OF_THE_SHARD):
        before, now = getattr(sidecar.header, name), getattr(asked, name)
        if before != now:
            raise ValueError(
                f"'{sidecar.path}' was made with {name} = {before}, but {now} is asked for; "
                "ask for the same or overwrite it."
            )


class _Meter:
    """Counts samples and bytes of the shards to do, and reports after each batch."""

    def __init__(self, shards: Sequence[Path], report: Callable[[Progress], None] | None) -> None:
        self._sizes = [shard.stat().st_size for shard in shards]
        self._report = report
        self._start = time.monotonic()
        self._shards_done = 0
        self._samples_of_shard = 0
        self.samples_done = 0

    @property
    def seconds(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._start

    def advance(self, samples: int, samples_of_shard: int) -> None:
        """Count a batch of the shard in work."""
        self.samples_done += samples
        self._samples_of_shard += samples
        share = self._samples_of_shard / samples_of_shard
        done = sum(self._sizes[: self._shards_done]) + share * self._sizes[self._shards_done]
        if self._samples_of_shard == samples_of_shard:
            self._shards_done, self._samples_of_shard = self._shards_done + 1, 0
        if self._report is not None:
            self._report(
                Progress(
                    shards_done=self._shards_done,
                    shards=len(self._sizes),
                    samples_done=self.samples_done,
                    samples_per_second=self.samples_done / self.seconds,
                    seconds_left=self.seconds * (sum(self._sizes) - done) / done,
                )
            )
