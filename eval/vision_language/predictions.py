"""A model's answers in a file that grows as they come, survives a kill, and is gone on with.

JSON lines: first what the answers depend on, then {"id", "answer"} for each question.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class PredictionFile:
    """The answers so far, on the disk and in memory."""

    def __init__(self, path: str | Path, identity: Mapping[str, Any]) -> None:
        """Open `path`, or make it; `identity` is what the answers depend on.

        A line torn by a kill is taken off; its question is asked again.

        Raises ValueError where the file holds answers of another model, benchmark or protocol, or
        is no such file.
        """
        self.path = Path(path)
        self._identity = json.loads(json.dumps(identity))
        self.answers: dict[str, str] = {}
        if self.path.is_file():
            self._take_up()
        if not self.path.is_file() or not self.path.stat().st_size:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._append(self._identity)

    def add(self, answers: Mapping[str, str]) -> None:
        """Write the answers by question id; those already there stay as they are."""
        new = {id: answer for id, answer in answers.items() if id not in self.answers}
        self._append(*({"id": id, "answer": answer} for id, answer in new.items()))
        self.answers |= new

    def _take_up(self) -> None:
        data = self.path.read_bytes()
        whole = data[: data.rfind(b"\n") + 1]
        try:
            lines = [json.loads(line) for line in whole.splitlines()]
        except ValueError as error:
            raise ValueError(f"{self.path} is not a file of answers: {error}.") from error
        if lines:
            self._require_same(lines[0])
        elif data and not data.startswith(b"{"):
            raise ValueError(f"{self.path} is not a file of answers; name another.")
        for number, line in enumerate(lines[1:], 2):
            if not isinstance(line, dict) or not {"id", "answer"} <= line.keys():
                raise ValueError(f"{self.path}, line {number} is no answer; remove that line.")
            self.answers[line["id"]] = line["answer"]
        if len(whole) < len(data):
            os.truncate(self.path, len(whole))

    def _require_same(self, found: Any) -> None:
        found = found if isinstance(found, dict) else {}
        for name, value in self._identity.items():
            if found.get(name) != value:
                raise ValueError(
                    f"{self.path} holds answers for {name} = {found.get(name)!r}, but this run has "
                    f"{value!r}; name another file, or remove it."
                )

    def _append(self, *lines: Mapping[str, Any]) -> None:
        text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
        with self.path.open("ab") as stream:
            stream.write(text.encode())
            stream.flush()
            os.fsync(stream.fileno())
