"""metrics.jsonl: the figures of every logged step as JSON lines."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path


class MetricsFile:
    """metrics.jsonl: one JSON object a line, each step at most once."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, record: Mapping[str, float]) -> None:
        """Add a line; it is with the operating system when this returns.

        Raises OSError that names the file when the disk is full.
        """
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")
        except OSError as error:  # of the write itself, which does not know the file's name
            raise OSError(error.errno, error.strerror, str(self.path)) from error

    def close(self) -> None:
        """Nothing is left open between two lines."""

    def keep_until(self, step: int) -> None:
        """Drop the lines of later steps and a torn last line: a resumed run writes them again.

        Raises ValueError for a line in the middle that is not JSON.
        """
        if not self.path.exists():
            return
        *lines, torn = self.path.read_text(encoding="utf-8").split("\n")
        kept = [line for line in lines if self._step_of(line) <= step]
        if torn or len(kept) < len(lines):
            draft = self.path.with_name(f".{self.path.name}.tmp")
            draft.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")
            os.replace(draft, self.path)

    def _step_of(self, line: str) -> int:
        try:
            return json.loads(line)["step"]
        except (ValueError, TypeError, KeyError) as error:
            raise ValueError(
                f"'{self.path}' has a line that is not a step of a run ({line[:40]!r}); "
                "repair or delete the file."
            ) from error
