"""What the subcommands print with."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from zoo.models.load import PUBLISHED

_SECONDS_BETWEEN_LINES = 5.0
_last_line: dict[str, float] = {}


def show_table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Print a plain table; every cell is shown as text, never read as markup."""
    result = Table(box=None, pad_edge=False, show_header=any(columns))
    for column in columns:
        result.add_column(Text(column), overflow="fold")
    for row in rows:
        result.add_row(*(Text(str(cell)) for cell in row))
    _clear_progress()
    _console().print(result)


def heading(text: str) -> None:
    """Print a rule with a title."""
    _console().rule(Text(text), align="left")


def status(line: str) -> None:
    """Show progress on standard error: rewritten in place on a terminal, else every few seconds."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[K{line}")
    elif time.monotonic() - _last_line.get("time", -math.inf) >= _SECONDS_BETWEEN_LINES:
        _last_line["time"] = time.monotonic()
        sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def say(line: str) -> None:
    """Print a line of text as it is, after clearing a progress line."""
    _clear_progress()
    _console().print(line, markup=False, soft_wrap=True)


def duration(seconds: float) -> str:
    """Return e.g. `3m 05s`."""
    whole = max(0, round(seconds))
    return f"{whole // 60}m {whole % 60:02d}s" if whole >= 60 else f"{whole}s"


def weights_argument(weights: str) -> str | Path | None:
    """The value of a `--weights` flag: "published", "none" for random weights, or a path."""
    if weights == "none":
        return None
    return weights if weights == PUBLISHED else Path(weights)


def _clear_progress() -> None:
    if sys.stderr.isatty():
        sys.stderr.write("\r\x1b[K")
        sys.stderr.flush()


@cache
def _console() -> Console:
    """Standard output; wide enough not to break tables when piped into a file."""
    output = Console(soft_wrap=False, highlight=False)
    return output if output.is_terminal else Console(width=160, highlight=False)
