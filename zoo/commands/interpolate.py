"""`zoo interpolate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import tyro

from zoo.commands.console import say
from zoo.training.fine_tuning.interpolate import interpolate_weights


def interpolate(
    first: Annotated[Path, tyro.conf.Positional],
    second: Annotated[Path, tyro.conf.Positional],
    /,
    *,
    output: Path,
    alpha: tuple[float, ...] = (0.5,),
) -> None:
    """Write weights between FIRST, before fine-tuning, and SECOND, after it (WiSE-FT).

    Args:
        first: weights before, in any naming.
        second: weights after, as `zoo train` wrote them.
        output: the .safetensors file to write; with several alphas its name gets -ALPHA.
        alpha: share of SECOND, 0 to 1; several write a file each, for `zoo eval` to choose from.
    """
    for share in alpha:
        path = output if len(alpha) == 1 else output.with_stem(f"{output.stem}-{share:g}")
        interpolate_weights(first, second, share, path)
        say(f"wrote {path}, {share:g} of the way from {first} to {second}")
