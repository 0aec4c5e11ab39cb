"""`zoo report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import tyro

from zoo.commands.console import say
from zoo.eval.report import write_report
from zoo.eval.run_curves import run_sections
from zoo.eval.training_run import read_runs


def report(
    runs: Annotated[tuple[Path, ...], tyro.conf.Positional],
    /,
    *,
    output: Path | None = None,
) -> None:
    """Draw the curves of training runs, over each other, into one page that needs nothing else.

    Losses, learning rate, speed and evaluations against samples seen; of several runs also how
    many samples one needs to reach what another ends with. A run that goes on can be reported.

    Args:
        runs: folders of runs, the `output` of their recipes.
        output: HTML file to write; by default report.html in the first run's folder.
    """
    if not runs:
        raise ValueError("zoo report needs a run: give the folder of one or more.")
    folders = list(dict.fromkeys(runs))
    sections = run_sections(read_runs(folders))
    page = write_report(
        output or folders[0] / "report.html",
        title=f"Training: {', '.join(folder.name for folder in folders)}",
        sections=sections,
    )
    say(f"wrote {page}")
