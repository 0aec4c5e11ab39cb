"""The engine of mask sidecars: a teacher is asked about every picture of a shard, once."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path

from zoo.reinforced_data.engine.claims import SidecarLock
from zoo.reinforced_data.engine.locations import ShardTask, check_distinct
from zoo.reinforced_data.engine.pipeline import Skipped
from zoo.reinforced_data.engine.progress import Meter, Progress, Settled, Step, Waiting
from zoo.reinforced_data.engine.settings import OnError
from zoo.reinforced_data.masks.answers import ShardSamples, answered
from zoo.reinforced_data.masks.header import MaskHeader
from zoo.reinforced_data.masks.sidecar import (
    MaskRows,
    MaskSidecar,
    mask_sidecar_path,
    write_mask_sidecar,
)
from zoo.reinforced_data.masks.teacher import MaskTeacher
from zoo.reinforced_data.shards.find import find_shards
from zoo.reinforced_data.shards.index import content_digest

_PACKAGES = ("numpy", "pillow", "timm", "torch", "zoo")
_SECONDS_BETWEEN_LOOKS = 0.5


@dataclass(frozen=True)
class MaskReport:
    """What a run did."""

    written: tuple[Path, ...]
    kept: tuple[Path, ...]
    """Sidecars that were finished, checked and left as they were."""
    samples: int
    """Samples of the written sidecars."""
    skipped: tuple[Skipped, ...]
    """Samples without prompts, and shards without a sidecar; and why."""
    seconds: float


def reinforce_masks(
    shards: str | Path | Sequence[str | Path],
    *,
    teacher: MaskTeacher,
    masks_per_picture: int = 32,
    seed: int = 0,
    on_error: OnError = "stop",
    output: Path | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> MaskReport:
    """Write the mask sidecar of every shard that has none yet.

    Prompts are drawn on the instances of a picture; where it has none, a SAM is asked on a grid of
    points, and the truth knows nothing. A sidecar appears when it is whole, so a run that was
    stopped or killed is taken up by the same call, and several runs share the work: none touches a
    shard that another one is at, all return when every sidecar is there. The same shards, teacher
    and seed give the same bytes.

    Args:
        shards: local folder, file, glob or brace pattern, or several of these.
        teacher: a SAM or the truth.
        masks_per_picture: prompts a picture; the paper trains on 32.
        seed: of the prompts.
        on_error: what cannot be used ends the run ("stop") or is listed ("skip"): a sample then
            has no prompts, a shard no sidecar.
        output: folder of the sidecars; beside the shards by default.
        on_progress: called after each picture.

    Raises ValueError when nothing matches `shards`, when a finished sidecar is damaged, of another
    shard or was made with other settings, and, with on_error="stop", for a sample or shard that
    cannot be used.
    """
    if masks_per_picture < 1:
        raise ValueError(f"masks_per_picture is {masks_per_picture}; give at least 1.")
    if output is not None:
        output.mkdir(parents=True, exist_ok=True)
    tasks = [
        ShardTask(number, shard, mask_sidecar_path(shard, output))
        for number, shard in enumerate(find_shards(shards))
    ]
    check_distinct(tasks)
    asked = MaskHeader(
        shard="",
        shard_bytes=0,
        samples=0,
        teacher=teacher.info,
        masks_per_picture=masks_per_picture,
        seed=seed,
        packages={name: version(name) for name in _PACKAGES},
    )
    run = _Run(teacher, asked, on_error, Meter(tasks, on_progress))
    run.work_through(tasks)
    return run.report()


@dataclass
class _Run:
    """The work of one call, and what came of it."""

    teacher: MaskTeacher
    asked: MaskHeader
    """Still without the properties of a shard."""
    on_error: OnError
    meter: Meter
    written: list[Path] = field(default_factory=list)
    kept: list[Path] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)

    def report(self) -> MaskReport:
        return MaskReport(
            tuple(self.written),
            tuple(self.kept),
            self.meter.samples_done,
            tuple(self.skipped),
            self.meter.seconds,
        )

    def work_through(self, tasks: Sequence[ShardTask]) -> None:
        waiting = list(tasks)
        while waiting:
            held = [task for task in waiting if not self._settle(task)]
            if len(held) == len(waiting):
                self.meter.take(Waiting(len(held)))
                time.sleep(_SECONDS_BETWEEN_LOOKS)
            waiting = held

    def _settle(self, task: ShardTask) -> bool:
        """Make the sidecar or check the one that is there; False while another run makes it."""
        shard, sidecar = Path(task.shard), Path(task.sidecar)
        lock = SidecarLock(sidecar)
        if not lock.acquire():
            return False
        try:
            if sidecar.exists():
                self._check(sidecar, shard)
                self.kept.append(sidecar)
                self.meter.take(Settled(task.number))
            else:
                self._make(task.number, shard, sidecar)
        finally:
            lock.release()
        return True

    def _check(self, path: Path, shard: Path) -> None:
        """Raise ValueError unless the finished sidecar is what is asked for."""
        sidecar = MaskSidecar(path)
        for name in ("teacher", "masks_per_picture", "seed"):
            before, now = getattr(sidecar.header, name), getattr(self.asked, name)
            if before != now:
                raise ValueError(
                    f"'{path}' was made with {name} = {before}, but {now} is asked for; ask for "
                    "the same, delete it, or write to another output folder."
                )
        sidecar.verify()
        sidecar.check_shard(shard, ShardSamples(shard, "skip").keys)

    def _make(self, number: int, shard: Path, path: Path) -> None:
        try:
            samples = ShardSamples(shard, self.on_error)
        except ValueError as error:
            if self.on_error == "stop":
                raise
            self.skipped.append(Skipped(shard, None, str(error)))
            self.meter.take(Settled(number))
            return
        rows = MaskRows()
        for i in range(len(samples.keys)):
            self._ask(samples, i, rows)
            self.meter.take(Step(number, 1, 1 / len(samples.keys)))
        header = replace(
            self.asked,
            shard=shard.name,
            shard_bytes=shard.stat().st_size,
            samples=len(samples.keys),
        )
        write_mask_sidecar(path, header, samples.keys, rows)
        self.written.append(path)

    def _ask(self, samples: ShardSamples, i: int, rows: MaskRows) -> None:
        try:
            members = samples.members(i)
            prompts, answers = answered(samples, i, members, self.teacher, self.asked)
        except ValueError as error:
            if self.on_error == "stop":
                raise
            self._skip(samples, i, str(error))
            rows.add_unusable()
            return
        rows.add(content_digest(members), prompts, answers)
        if not answers:
            self._skip(samples, i, f"{samples.describe(i)} has no instance to learn.")

    def _skip(self, samples: ShardSamples, i: int, reason: str) -> None:
        self.skipped.append(Skipped(samples.path, samples.keys[i], reason))
