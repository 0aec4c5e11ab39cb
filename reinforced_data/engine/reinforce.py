"""The engine: teachers and a captioner look at every picture of a shard, once, into its sidecar."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from zoo.reinforced_data.augmentation.policy import AugmentationPolicy
from zoo.reinforced_data.engine.captioners.protocol import Captioner
from zoo.reinforced_data.engine.cluster import run_on_cluster
from zoo.reinforced_data.engine.locations import ShardTask, find_tasks
from zoo.reinforced_data.engine.pipeline import Outcome, Skipped
from zoo.reinforced_data.engine.processes import run_in_processes
from zoo.reinforced_data.engine.progress import Meter, Progress
from zoo.reinforced_data.engine.settings import OnError, Reinforcement
from zoo.reinforced_data.engine.specification import Specification, work_device
from zoo.reinforced_data.engine.teachers import Teacher
from zoo.reinforced_data.engine.work_list import WorkOptions, work_through
from zoo.reinforced_data.sidecars.embedding_storage import Storage

COPIES_FOLDER = Path("~/.cache/zoo/reinforce").expanduser()
"""Where shards and sidecars at URLs have a copy while they are in work."""

OnProgress = Callable[[Progress], None]


@dataclass(frozen=True)
class ReinforceReport:
    """What a run did."""

    written: tuple[Path | str, ...]
    """Sidecars, by path or URL."""
    kept: tuple[Path | str, ...]
    """Sidecars that others had finished, checked and left as they were."""
    samples: int
    """Samples of the written sidecars."""
    skipped: tuple[Skipped, ...]
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
    storage: Storage | tuple[Storage, ...] = "int8",
    batch_size: int = 64,
    on_error: OnError = "stop",
    extend: bool = False,
    overwrite: bool = False,
    output: str | Path | None = None,
    workers: int = 0,
    on_progress: OnProgress | None = None,
) -> ReinforceReport:
    """Write the sidecar of every shard that has none yet; the fields of `Reinforcement` say what.

    A sidecar appears when it is whole, so a run that was stopped or killed is taken up by the same
    call, and several runs share the work: none touches a shard that another one is at, all return
    when every sidecar is there. The same shards and settings give the same bytes, whoever did
    what. A teacher that a finished sidecar lacks is added to it, and so are captions where there
    are none; what it holds already is not computed again. `overwrite` makes all of them anew.

    Args:
        shards: folder, file, glob, brace pattern or URL, or several of these.
        output: folder or URL of the sidecars; beside the shards by default.
        workers: processes that decode pictures and replay augmentations; 0 does it here.
        on_progress: called after each batch.

    Raises ValueError when nothing matches `shards`; when a finished sidecar was made with other
    settings or is damaged; and, with on_error="stop", for a sample or shard that cannot be used.
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
        extend=extend,
    )
    tasks = find_tasks(shards, output=output, overwrite=overwrite)
    meter = Meter(tasks, on_progress)
    outcome = work_through(
        tasks, settings, folder=COPIES_FOLDER, workers=workers, on_event=meter.take
    )
    return _report(tasks, outcome, meter)


def reinforce_by_names(
    shards: str | Path | Sequence[str | Path],
    specification: Specification,
    *,
    processes: int = 1,
    cluster: str | None = None,
    overwrite: bool = False,
    output: str | Path | None = None,
    workers: int = 0,
    on_progress: OnProgress | None = None,
) -> ReinforceReport:
    """Do what `reinforce` does with models that are loaded by name, in one process or several.

    Args:
        shards: as for `reinforce`, and so are overwrite, output and on_progress.
        specification: the teachers and everything else by name.
        processes: how many of them hold the teachers, each on one GPU or its share of the cores.
        cluster: address of a Ray cluster, "local" starts one here; None stays without Ray.
        workers: processes that decode pictures, for each of `processes`.

    A process that is killed loses the shard in work, which another one begins again. Raises what
    `reinforce` and the loading of the models raise, and OSError when no process is left.
    """
    if processes < 1:
        raise ValueError(f"processes is {processes}; give at least 1.")
    tasks = find_tasks(shards, output=output, overwrite=overwrite)
    meter = Meter(tasks, on_progress)
    place: WorkOptions = {"folder": COPIES_FOLDER, "workers": workers, "on_event": meter.take}
    if cluster is not None:
        outcome = run_on_cluster(
            tasks, specification, address=cluster, processes=processes, **place
        )
    elif processes > 1:
        outcome = run_in_processes(tasks, specification, processes=processes, **place)
    else:
        outcome = work_through(tasks, specification.load(work_device()), **place)
    return _report(tasks, outcome, meter)


def _report(tasks: Sequence[ShardTask], outcome: Outcome, meter: Meter) -> ReinforceReport:
    return ReinforceReport(
        written=tuple(tasks[number].sidecar for number in sorted(outcome.written)),
        kept=tuple(tasks[number].sidecar for number in sorted(outcome.kept)),
        samples=outcome.samples,
        skipped=tuple(outcome.skipped),
        seconds=meter.seconds,
    )
