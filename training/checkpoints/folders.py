"""The checkpoint folders of a run: which there are, and which one a run starts from."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from torch import distributed

from zoo.training.parallel.world import World

METRICS_NAME = "metrics.jsonl"

_NAME = re.compile(r"step-(\d{8,})")
_UNFINISHED = ".unfinished-"


def checkpoints(output: Path) -> list[Path]:
    """Return the checkpoint folders in a run folder, oldest first."""
    found = [path for path in output.glob("step-*") if _NAME.fullmatch(path.name)]
    return sorted(found, key=lambda path: int(path.name.removeprefix("step-")))


def checkpoint_folder(output: Path, step: int) -> Path:
    """Return the folder of the checkpoint after `step` steps."""
    return output / f"step-{step:08d}"


def draft_of(folder: Path) -> Path:
    """Return where a checkpoint is while it is not whole: being written, or being deleted."""
    return folder.with_name(f"{_UNFINISHED}{folder.name}")


def remove_checkpoint(folder: Path) -> None:
    """Delete a checkpoint so that no half of it ever carries a checkpoint's name."""
    doomed = draft_of(folder)
    folder.rename(doomed)
    shutil.rmtree(doomed)


def remove_unfinished(output: Path) -> None:
    """Delete what a killed run left half written or half deleted."""
    for folder in output.glob(f"{_UNFINISHED}*"):
        shutil.rmtree(folder)


def starting_point(output: Path, world: World, *, resume: bool) -> Path | None:
    """Prepare the run folder and return the checkpoint to go on from, None for a fresh run.

    Rank 0 looks and decides for all processes: they may see a network disk at different moments.
    Raises ValueError, in all of them, when the folder holds a run that is not to be resumed.
    """
    decision: list[Path | ValueError | None] = [None]
    if world.is_main:
        decision = [_decide(output, resume)]
    if world.group is not None:
        distributed.broadcast_object_list(decision, src=0, group=world.group)
    if isinstance(decision[0], ValueError):
        raise decision[0]
    return decision[0]


def _decide(output: Path, resume: bool) -> Path | ValueError | None:
    saved = checkpoints(output)
    if not resume and (saved or (output / METRICS_NAME).exists()):
        return ValueError(
            f"'{output}' already holds a run; resume it (--resume), delete the folder or "
            "choose another output."
        )
    output.mkdir(parents=True, exist_ok=True)
    remove_unfinished(output)
    return saved[-1] if saved else None
