"""`zoo reinforce masks`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import tyro

from zoo.commands.console import duration, say
from zoo.commands.reinforce import show_progress
from zoo.reinforced_data.masks.reinforce import MaskReport, reinforce_masks
from zoo.reinforced_data.masks.teacher import load_mask_teacher


def reinforce_with_masks(
    shards: Annotated[str, tyro.conf.Positional],
    /,
    *,
    teacher: str,
    masks_per_picture: int = 32,
    seed: int = 0,
    on_error: Literal["stop", "skip"] = "stop",
    output: Path | None = None,
    device: str = "auto",
) -> None:
    """Write a mask sidecar beside every shard: prompts, and the masks that a SAM answers to them.

    Prompts are points and boxes of the pictures' instances (KEY.mask.png, or KEY.json in SA-1B's or
    COCO's form); a picture without any is asked about on a grid of points. Finished sidecars are
    kept, so that a run that was stopped or killed goes on where it was, and several runs at once
    share the shards, one for each GPU.

    Args:
        shards: a folder, a glob, a brace pattern or one tar.
        teacher: sam:MODEL@WEIGHTS, or truth:MODEL for the instance masks themselves, from which a
            SAM of that form learns.
        masks_per_picture: prompts a picture.
        seed: the same seed gives the same bytes.
        on_error: what an unusable sample or shard does: end the run, or be listed.
        output: folder of the sidecars; by default beside the shards.
        device: where the teacher works; "auto" is the fastest there is.
    """
    done = reinforce_masks(
        shards,
        teacher=load_mask_teacher(teacher, device=device),
        masks_per_picture=masks_per_picture,
        seed=seed,
        on_error=on_error,
        output=output,
        on_progress=show_progress,
    )
    _show_report(done)


def _show_report(done: MaskReport) -> None:
    for skipped in done.skipped:
        say(f"skipped: {skipped.reason}")
    say(
        f"wrote {len(done.written)} mask sidecars ({done.samples} samples) in "
        f"{duration(done.seconds)}; kept {len(done.kept)} finished ones; "
        f"skipped {len(done.skipped)} samples or shards"
    )
