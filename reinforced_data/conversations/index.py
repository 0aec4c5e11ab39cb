"""Where every conversation of a source lies: arrays that do not grow with the texts.

34 bytes a conversation of a file, 16 more for each picture in a shard. They stay in the process
that draws the order; workers are sent the places of their samples. Making them took 31 s of one
core for a million conversations of 1.3 kB, at every start: no cache has to be kept in step.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from zoo.reinforced_data.conversations.conversation import Conversation

Span = tuple[int, int]
"""Offset and length of bytes of a file."""


class Place(NamedTuple):
    """What has to be read for one conversation."""

    file: int
    """Which file of the source."""
    spans: tuple[Span, ...]
    """Of the conversation, and of its pictures where they lie in the same file."""


class Reader(Protocol):
    """Reads the conversations of a source by their places; workers have a copy of it."""

    @property
    def files(self) -> Sequence[Path]:
        """The files that hold the conversations."""
        ...

    def read(self, place: Place) -> Conversation:
        """Return a conversation with its pictures.

        Raises ValueError, the predicate of a sentence, where it cannot be used, and OSError where
        the file that holds it cannot be read.
        """
        ...

    def describe(self, place: Place) -> str:
        """Name a conversation, by its file and key, for a message. Raises OSError as `read`."""
        ...


class ConversationIndex:
    """The usable conversations of a source, in the order of its files."""

    def __init__(self, rows: IndexRows, reader: Reader) -> None:
        self.reader = reader
        self._files = np.array(rows.files, np.int32)
        self._first = np.array([0, *rows.ends], np.int64)
        self._spans = np.array(rows.spans, np.int64).reshape(-1, 2)
        self.text_bytes = np.array(rows.text_bytes, np.int32)
        """Bytes of all messages of each: int32 (N,)."""
        self.pictures = np.array(rows.pictures, np.uint16)
        """Pictures of each: uint16 (N,)."""

    def __len__(self) -> int:
        return len(self._files)

    @property
    def nbytes(self) -> int:
        """Memory of the arrays."""
        held = (self._files, self._first, self._spans, self.text_bytes, self.pictures)
        return sum(one.nbytes for one in held)

    def place(self, row: int) -> Place:
        """Return where conversation `row` lies."""
        spans = self._spans[self._first[row] : self._first[row + 1]].tolist()
        return Place(int(self._files[row]), tuple((offset, size) for offset, size in spans))

    def fingerprint(self) -> str:
        """Return a text that changes with the files' names, the places and the lengths."""
        names = "\0".join(file.name for file in self.reader.files)
        digest = hashlib.blake2b(names.encode(), digest_size=8)
        for part in (self._files, self._spans, self.text_bytes):
            digest.update(part.tobytes())
        return digest.hexdigest()


class IndexRows:
    """The rows of an index while it grows."""

    def __init__(self) -> None:
        self.files, self.ends, self.spans = array("i"), array("q"), array("q")
        self.text_bytes, self.pictures = array("i"), array("H")

    def __len__(self) -> int:
        return len(self.files)

    def add(self, file: int, spans: Sequence[Span], text_bytes: int, pictures: int) -> None:
        """Append a conversation."""
        self.files.append(file)
        for span in spans:
            self.spans.extend(span)
        self.ends.append(len(self.spans) // 2)
        self.text_bytes.append(text_bytes)
        self.pictures.append(pictures)
