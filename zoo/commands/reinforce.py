"""`zoo reinforce`."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated, Literal

import tyro

from zoo.commands.console import duration, say, status
from zoo.reinforced_data.augmentation.policy import AugmentationPolicy
from zoo.reinforced_data.engine.captioners.retrieval import read_candidates, shard_captions
from zoo.reinforced_data.engine.captioners.sampling import Sampling
from zoo.reinforced_data.engine.reinforce import (
    Progress,
    ReinforceReport,
    reinforce_by_names,
)
from zoo.reinforced_data.engine.specification import Specification, work_device
from zoo.reinforced_data.shards.find import find_shards, is_url
from zoo.reinforced_data.sidecars.embedding_storage import Storage
from zoo.reinforced_data.sidecars.tensor_file import write_whole

_MOBILECLIP_POLICY = AugmentationPolicy()
_MOBILECLIP_SAMPLING = Sampling()
_MOST_WORKERS = 16


def reinforce(
    shards: Annotated[str, tyro.conf.Positional],
    /,
    *,
    teacher: tyro.conf.UseAppendAction[tuple[str, ...]],
    captioner: str = "retrieval",
    candidates: Path | None = None,
    sampling: Sampling = _MOBILECLIP_SAMPLING,
    prompt: str = "",
    captions: int = 5,
    augmentations: int = 10,
    policy: AugmentationPolicy = _MOBILECLIP_POLICY,
    storage: tyro.conf.UseAppendAction[tuple[Storage, ...]] = (),
    seed: int = 0,
    batch_size: int = 64,
    on_error: Literal["stop", "skip"] = "stop",
    report: Path | None = None,
    extend: bool = False,
    overwrite: bool = False,
    output: str | None = None,
    workers: int | None = None,
    processes: int = 1,
    ray: str | None = None,
) -> None:
    """Write a sidecar beside every shard: augmentations, teacher embeddings, synthetic captions.

    Finished sidecars are kept, so that a run that was stopped or killed goes on where it was, and
    several runs at once share the shards. A teacher that they lack is added to them, without
    running the others: give the same command with one more --teacher, or only the new one with
    --extend.

    Args:
        shards: a folder, a glob, a brace pattern, one tar, or a URL of any of these.
        teacher: [NAME=]zoo:MODEL[@WEIGHTS] or [NAME=]open_clip:MODEL@TAG; repeat for several.
        captioner: "retrieval" lets the first teacher choose among candidate sentences;
            transformers:MODEL or open_clip:MODEL@TAG writes captions; "none" makes none.
        candidates: text file with one sentence a line; by default the shards' own captions.
        sampling: how a captioner that writes draws words.
        prompt: what a transformers captioner continues or is asked.
        captions: synthetic captions a picture.
        augmentations: recorded augmentations a picture.
        policy: what the augmentations are drawn from.
        storage: number format of the embeddings, int8 unless given; repeat for one a teacher.
        seed: the same seed gives the same bytes.
        batch_size: views or texts given to a teacher at once.
        on_error: what an unusable sample or shard does: end the run, or be listed; a sample keeps
            its row, marked as not valid.
        report: JSON-lines file of what was skipped and why.
        extend: add the teachers to finished sidecars, with the augmentations, captions and seed
            that those were made with.
        overwrite: make finished sidecars anew.
        output: folder or URL of the sidecars; by default beside the shards.
        workers: processes that decode and augment; by default one a core beside a GPU, else none.
        processes: of this machine, each with a GPU or its share of the cores.
        ray: address of a Ray cluster that does the work, "local" starts one on this machine.
    """
    if not teacher:
        raise ValueError("There is no teacher; give one, e.g. --teacher zoo:mobileclip2-s0.")
    for name, value in (("captions", captions), ("augmentations", augmentations)):
        if value < 1:
            raise ValueError(f"--{name} is {value}; give at least 1 (or --captioner none).")
    asked = (captioner, candidates, sampling, prompt, captions, augmentations, policy, seed)
    if extend and asked != _DEFAULTS:
        raise ValueError(
            "--extend takes augmentations, captions and seed from the sidecars; leave out "
            "--captioner, --candidates, --captions, --augmentations, --policy and --seed."
        )
    captions_made = not extend and captioner != "none"
    specification = Specification(
        teachers=teacher,
        captioner=captioner if captions_made else None,
        candidates=_sentences(shards, candidates, on_error)
        if captions_made and captioner == "retrieval"
        else (),
        sampling=sampling,
        prompt=prompt,
        policy=policy,
        augmentations=augmentations,
        captions=captions if captions_made else 0,
        seed=seed,
        storage=storage or ("int8",),
        batch_size=batch_size,
        on_error=on_error,
        extend=extend,
    )
    done = reinforce_by_names(
        shards,
        specification,
        processes=processes,
        cluster=ray,
        overwrite=overwrite,
        output=output,
        workers=_default_workers(processes) if workers is None else workers,
        on_progress=show_progress,
    )
    _show_report(done, report)


_DEFAULTS = ("retrieval", None, _MOBILECLIP_SAMPLING, "", 5, 10, _MOBILECLIP_POLICY, 0)


def _sentences(
    shards: str, candidates: Path | None, on_error: Literal["stop", "skip"]
) -> tuple[str, ...]:
    if candidates is not None:
        return tuple(read_candidates(candidates))
    if is_url(shards):
        raise ValueError(f"{shards!r} is a URL; name the sentences with --candidates FILE.")
    return tuple(shard_captions(find_shards(shards), on_error))


def _default_workers(processes: int) -> int:
    if work_device().type == "cpu":
        return 0
    return min(_MOST_WORKERS, max(1, (os.cpu_count() or 1) // processes - 1))


def show_progress(progress: Progress) -> None:
    """Show where a run over shards stands."""
    waiting = f"; waiting for {progress.waiting} of another run" if progress.waiting else ""
    status(
        f"shards {progress.shards_done}/{progress.shards}, samples {progress.samples_done}, "
        f"{progress.samples_per_second:.0f} a second, {duration(progress.seconds_left)} left"
        f"{waiting}"
    )


def _show_report(done: ReinforceReport, path: Path | None) -> None:
    for skipped in done.skipped:
        what = skipped.shard if skipped.key is None else f"{skipped.shard} {skipped.key}"
        say(f"skipped {what}: {skipped.reason}")
    say(
        f"wrote {len(done.written)} sidecars ({done.samples} samples) in "
        f"{duration(done.seconds)}; kept {len(done.kept)} finished ones; "
        f"skipped {len(done.skipped)} unusable samples or shards"
    )
    if path is not None:
        lines = [
            {"shard": str(skipped.shard), "key": skipped.key, "reason": skipped.reason}
            for skipped in done.skipped
        ]
        write_whole(path, [json.dumps(line, ensure_ascii=False).encode() + b"\n" for line in lines])
