"""What the subcommands print with."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from zoo.models.load import PUBLISHED


@cache
def console() -> Console:
    """Standard output; wide enough not to break tables when piped into a file."""
    output = Console(soft_wrap=False, highlight=False)
    return output if output.is_terminal else Console(width=160, highlight=False)


def table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> Table:
    """A plain table; every cell is shown as text, never read as markup."""
    from rich.text import Text

    result = Table(box=None, pad_edge=False, show_header=any(columns))
    for column in columns:
        result.add_column(Text(column), overflow="fold")
    for row in rows:
        result.add_row(*(Text(str(cell)) for cell in row))
    return result


def status(line: str) -> None:
    """Show progress on standard error: rewritten in place on a terminal, one line a call else."""
    output = _errors()
    output.print(line, end="\r" if output.is_terminal else "\n", markup=False, overflow="ellipsis")


def duration(seconds: float) -> str:
    """Return e.g. `3m 05s`."""
    whole = max(0, round(seconds))
    return f"{whole // 60}m {whole % 60:02d}s" if whole >= 60 else f"{whole}s"


def weights_argument(weights: str) -> str | Path | None:
    """The value of a `--weights` flag: "published", "none" for random weights, or a path."""
    if weights == "none":
        return None
    return weights if weights == PUBLISHED else Path(weights)


@cache
def _errors() -> Console:
    return Console(stderr=True, highlight=False, no_color=True)
