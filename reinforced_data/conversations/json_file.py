"""Conversations of a LLaVA .json or .jsonl file, whose pictures are files in a folder."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zoo.reinforced_data.conversations.conversation import (
    Conversation,
    image_names,
    messages_of,
    text_bytes,
)
from zoo.reinforced_data.conversations.index import ConversationIndex, IndexRows, Place
from zoo.reinforced_data.conversations.json_records import json_records, parse
from zoo.reinforced_data.conversations.problems import Problems

SUFFIXES = (".json", ".jsonl")


@dataclass(frozen=True)
class JsonReader:
    """Reads one conversation of a file by its bytes."""

    path: Path
    images: Path
    """Folder of the pictures."""

    @property
    def files(self) -> tuple[Path, ...]:
        """The one file."""
        return (self.path,)

    def read(self, place: Place) -> Conversation:
        """Return a conversation with its pictures; see `Reader`."""
        record = parse(self._bytes(place))
        paths = _picture_paths(record, self.images)
        messages = messages_of(record, len(paths))
        return Conversation(messages=messages, pictures=tuple(map(_read_picture, paths)))

    def describe(self, place: Place) -> str:
        """Name a conversation; see `Reader`."""
        try:
            record = parse(self._bytes(place))
        except ValueError:
            record = None
        return _describe(self.path, record, place.spans[0][0])

    def _bytes(self, place: Place) -> bytes:
        ((offset, size),) = place.spans
        with self.path.open("rb", buffering=0) as file:
            return os.pread(file.fileno(), size, offset)


def index_json(path: Path, images: Path, problems: Problems) -> ConversationIndex:
    """Read the file once and list its usable conversations; the others go to `problems`.

    Usable: well formed, and its pictures are there (they are not opened). Raises FileNotFoundError
    without the file or its image folder, and ValueError for a file that is not a list or is
    damaged.
    """
    if not images.is_dir():
        raise FileNotFoundError(f"There is no image folder '{images}', which '{path}' needs.")
    rows = IndexRows()
    for offset, size, record in json_records(path):
        try:
            paths = _picture_paths(record, images)
            messages = messages_of(record, len(paths))
            for picture in paths:
                _check_picture(picture)
        except ValueError as error:
            problems.add(f"{_describe(path, record, offset)} {error}")
            continue
        rows.add(0, [(offset, size)], text_bytes(messages), len(paths))
    return ConversationIndex(rows, JsonReader(path, images))


def _describe(path: Path, record: Any, offset: int) -> str:
    """Name a record of a file for a message: by its id, or by where it lies."""
    key = record.get("id") if isinstance(record, dict) else None
    place = f"at byte {offset}" if key is None else repr(key)
    return f"Conversation {place} of '{path}'"


def _picture_paths(record: Any, images: Path) -> list[Path]:
    """Return where the pictures of a record lie.

    Raises ValueError, the predicate of a sentence, for paths that leave the folder.
    """
    return [_inside(images, name) for name in image_names(record)]


def _inside(images: Path, name: str) -> Path:
    path = os.path.normpath(name)
    if os.path.isabs(path) or path.split(os.sep, 1)[0] == os.pardir:
        raise ValueError(f"has the image '{name}', which is not inside the image folder.")
    return images / path


def _check_picture(path: Path) -> None:
    if not path.is_file():
        raise ValueError(f"has no picture at '{path}'.")


def _read_picture(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ValueError(f"has a picture that cannot be read ({error}).") from error
