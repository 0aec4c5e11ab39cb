"""What every curation command does around its algorithm: read the pool, write subset and report."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from zoo.commands.console import duration, say, show_table, status
from zoo.eval.report import Section, Stat, StatsSection, TableSection, write_report
from zoo.eval.results import command_line
from zoo.reinforced_data.curation.pool import Pool, find_sidecars
from zoo.reinforced_data.curation.subset import SUFFIX, check_subset_path, write_subset
from zoo.reinforced_data.curation.vector_file import VectorFile


class Progress:
    """Shows how far each stage is, its rate and the time left."""

    def __init__(self) -> None:
        self._started: dict[str, float] = {}

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Show that `done` of `total` of a stage are done."""
        now = time.monotonic()
        seconds = now - self._started.setdefault(stage, now)
        line = f"{stage}: {done:,}/{total:,}"
        if seconds > 0:
            rate = done / seconds
            line += f", {rate:,.0f} a second, {duration((total - done) / rate)} left"
        status(line)


@dataclass(frozen=True, kw_only=True)
class Curation:
    """A curation under way."""

    name: str
    pool: Pool
    output: Path
    report: Path
    progress: Progress = field(default_factory=Progress)
    started: float = field(default_factory=time.monotonic)

    @classmethod
    def open(
        cls, name: str, shards: str, output: Path, subset: Path | None, report: Path | None
    ) -> Curation:
        """Check the paths before anything is computed, and read what the sidecars list."""
        check_subset_path(output)
        pool = Pool.open(find_sidecars(shards), subset=subset)
        output.parent.mkdir(parents=True, exist_ok=True)
        beside = output.with_name(output.name.removesuffix(SUFFIX) + ".report.html")
        return cls(name=name, pool=pool, output=output, report=report or beside)

    def vectors(self, teacher: str) -> VectorFile:
        """The pool's image vectors, in a temporary file beside the output."""
        return VectorFile(self.pool, teacher, folder=self.output.parent, on_progress=self.progress)

    def finish(
        self,
        kept: Mapping[str, tuple[Sequence[str], np.ndarray]],
        *,
        settings: Mapping[str, Any],
        figures: Mapping[str, str],
        sections: Sequence[Section],
    ) -> None:
        """Write subset and report, and print what came out."""
        count = sum(len(keys) for keys, _ in kept.values())
        metadata = {"made_by": self.name, "settings": json.dumps(settings, sort_keys=True)}
        write_subset(self.output, kept, metadata)
        rows = {"samples": f"{len(self.pool):,}", "kept": f"{count:,} ({_share(count, self.pool)})"}
        rows |= figures
        stats = [Stat(value=value, label=label) for label, value in rows.items()]
        made = {"command": command_line(), "shards": len(self.pool.shards), **settings}
        provenance = TableSection(
            heading="How this was made",
            columns=["setting", "value"],
            rows=[[name, str(value)] for name, value in made.items()],
        )
        title = f"zoo data {self.name}: {_share(count, self.pool)} kept"
        write_report(
            self.report, title=title, sections=[StatsSection(stats=stats), *sections, provenance]
        )
        show_table(("", ""), list(rows.items()))
        say(f"wrote {self.output} and {self.report} in {duration(time.monotonic() - self.started)}")


def _share(count: int, pool: Pool) -> str:
    return f"{count / len(pool):.1%}"
