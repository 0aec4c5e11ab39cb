"""The records of a JSON list or of JSON lines one after another, with the bytes they lie in.

However large the file, a few megabytes of it are in memory. The end of a list's element is found
in its bytes read as Latin-1, one character each, so that places in the text are places in the file.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

_CHUNK = 1 << 22
_LONGEST = 1 << 26
_BOM = "\xef\xbb\xbf"  # of UTF-8
_SPACE = re.compile(r"[ \t\r\n]*")
_UNREADABLE = (json.JSONDecodeError, RecursionError)


class Record(NamedTuple):
    """One element of the list, or one line."""

    offset: int
    size: int
    content: Any
    """Parsed; None where that fails."""


def json_records(path: Path) -> Iterator[Record]:
    """Yield the records of a .json list or a .jsonl file.

    Raises FileNotFoundError where there is no file, and ValueError, naming file and byte, for what
    is not a list or cannot be read on.
    """
    if not path.is_file():
        raise FileNotFoundError(f"There is no file '{path}'; expected a list of conversations.")
    if os.path.getsize(path) == 0:
        raise ValueError(f"'{path}' is empty (0 bytes); expected a list of conversations.")
    with path.open("rb") as file:
        yield from _lines(file) if path.suffix == ".jsonl" else _ListReader(path, file).elements()


def parse(data: bytes) -> Any:
    """Return the content of one record's bytes. Raises ValueError, the predicate of a sentence."""
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"is not JSON ({error}).") from error


def first_record(path: Path) -> Any:
    """Return the content of the first record, None where there is none; raises as
    `json_records`."""
    return next((record.content for record in json_records(path)), None)


def _lines(file: BinaryIO) -> Iterator[Record]:
    offset = 0
    for line in file:
        if line.strip():
            yield Record(offset, len(line), _parse_or_none(line))
        offset += len(line)


def _parse_or_none(data: bytes) -> Any:
    try:
        return parse(data)
    except ValueError:
        return None


class _ListReader:
    """Reads a JSON list element by element from a window on the file that moves along."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self._path, self._file = path, file
        self._text, self._start, self._at = "", 0, 0
        self._decode = json.JSONDecoder().raw_decode

    def elements(self) -> Iterator[Record]:
        for mark in _BOM:
            self._at += self._peek() == mark
        self._expect("[", 'does not begin with "["; expected a list of conversations,')
        while self._peek() != "]":
            yield self._element()
            if self._peek() != "]":
                self._expect(",", 'has no "," or "]" here: it is damaged or incomplete,')
        self._at += 1
        if self._peek():
            raise self._error("goes on behind the end of the list,")

    def _element(self) -> Record:
        while True:
            try:
                content, end = self._decode(self._text, self._at)
            except _UNREADABLE as error:
                # As a rule the element goes on behind the window.
                if len(self._text) - self._at > _LONGEST or not self._read_on():
                    raise self._error("is damaged or incomplete in the element") from error
                continue
            text, offset = self._text[self._at : end], self._start + self._at
            if not text.isascii():
                content = _parse_or_none(text.encode("latin-1"))
            self._at = end
            return Record(offset, len(text), content)

    def _peek(self) -> str:
        """The next character that is no white space; empty at the end of the file."""
        while True:
            match = _SPACE.match(self._text, self._at)
            assert match is not None
            self._at = match.end()
            if self._at < len(self._text) or not self._read_on():
                return self._text[self._at : self._at + 1]

    def _expect(self, character: str, problem: str) -> None:
        if self._peek() != character:
            raise self._error(problem)
        self._at += 1

    def _read_on(self) -> bool:
        """Move the window on, its remainder kept; as much again where an element is long."""
        more = self._file.read(max(_CHUNK, len(self._text) - self._at))
        self._text = self._text[self._at :] + more.decode("latin-1")
        self._start, self._at = self._start + self._at, 0
        return bool(more)

    def _error(self, problem: str) -> ValueError:
        return ValueError(f"'{self._path}' {problem} at byte {self._start + self._at}.")
