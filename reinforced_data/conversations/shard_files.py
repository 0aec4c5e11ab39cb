"""Conversations of shards: `KEY.json` holds "conversations", pictures lie beside it.

    KEY.json, KEY.jpg                        one picture
    KEY.json, KEY.0.jpg, KEY.1.jpg …         several, in the order of their numbers
    KEY.json                                 none

Members of one sample may lie anywhere in the shard.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from zoo.reinforced_data.conversations.conversation import Conversation, messages_of, text_bytes
from zoo.reinforced_data.conversations.index import ConversationIndex, IndexRows, Place
from zoo.reinforced_data.conversations.json_records import parse
from zoo.reinforced_data.conversations.problems import Problems
from zoo.reinforced_data.shards.read import IMAGE_SUFFIXES, is_visible, read_member
from zoo.reinforced_data.shards.tar_index import Member, index_tar

_NUMBERED = re.compile(r"(.*)\.(\d+)", re.DOTALL)


@dataclass(frozen=True)
class ShardReader:
    """Reads one conversation of shards by the bytes of its members."""

    files: tuple[Path, ...]

    def read(self, place: Place) -> Conversation:
        """Return a conversation with its pictures; see `Reader`."""
        path = self.files[place.file]
        members = [Member("a conversation", offset, size) for offset, size in place.spans]
        with path.open("rb", buffering=0) as file:
            data, *pictures = (read_member(path, file, member) for member in members)
        return Conversation(
            messages=messages_of(parse(data), len(pictures)), pictures=tuple(pictures)
        )

    def describe(self, place: Place) -> str:
        """Name a conversation; see `Reader`."""
        path, offset = self.files[place.file], place.spans[0][0]
        names = [_stem(member) for member in index_tar(path) if member.offset == offset]
        return _describe(path, names[0] if names else f"at byte {offset}")


def index_shards(paths: Sequence[Path], problems: Problems) -> ConversationIndex:
    """Read all headers and .json members once and list the usable conversations.

    The others, those without .json too, go to `problems`. Raises ValueError, naming shard and byte
    offset, for a damaged tar.
    """
    rows = IndexRows()
    for number, path in enumerate(paths):
        with path.open("rb", buffering=0) as file:
            for key, members in _groups(index_tar(path)).items():
                try:
                    _add(rows, number, _ordered(members), file)
                except ValueError as error:
                    problems.add(f"{_describe(path, key)} {error}")
    return ConversationIndex(rows, ShardReader(tuple(paths)))


def _describe(path: Path, key: str) -> str:
    return f"Conversation {key!r} of shard {path}"


def _add(rows: IndexRows, number: int, members: Sequence[Member], file: BinaryIO) -> None:
    record, *pictures = members
    content = parse(os.pread(file.fileno(), record.size, record.offset))
    messages = messages_of(content, len(pictures))
    spans = [(member.offset, member.size) for member in members]
    rows.add(number, spans, text_bytes(messages), len(pictures))


def _groups(members: Sequence[Member]) -> dict[str, list[Member]]:
    """The .json and pictures of each key, in the order of the shard."""
    known = [m for m in members if is_visible(m.name) and _suffix(m) in ("json", *IMAGE_SUFFIXES)]
    keys = {_stem(member) for member in known if _suffix(member) == "json"}
    groups: dict[str, list[Member]] = {}
    for member in known:
        groups.setdefault(_key(member, keys), []).append(member)
    return groups


def _key(member: Member, keys: set[str]) -> str:
    stem = _stem(member)
    numbered = _NUMBERED.fullmatch(stem)
    if stem not in keys and numbered and numbered[1] in keys:
        return numbered[1]
    return stem


def _ordered(members: Sequence[Member]) -> list[Member]:
    """Return the .json, then the pictures by number.

    Raises ValueError, the predicate of a sentence, without .json, and for a picture of 0 bytes or
    two members for one thing.
    """
    records = [member for member in members if _suffix(member) == "json"]
    pictures = [member for member in members if _suffix(member) != "json"]
    if not records:
        raise ValueError('has no .json member; expected one with "conversations".')
    if len(records) > 1:
        raise ValueError("has two .json members; expected one.")
    numbers = [_number(member) for member in pictures]
    if len(set(numbers)) < len(numbers):
        raise ValueError("has two members for one picture; number several as KEY.0.jpg, KEY.1.jpg.")
    if any(member.size == 0 for member in pictures):
        raise ValueError("has a picture of 0 bytes.")
    in_turn = sorted(zip(numbers, pictures, strict=True))
    return [records[0], *(picture for _, picture in in_turn)]


def _number(member: Member) -> int:
    """The number before the suffix of `KEY.1.jpg`; -1 for `KEY.jpg`."""
    numbered = _NUMBERED.fullmatch(_stem(member).rpartition("/")[2])
    return int(numbered[2]) if numbered else -1


def _stem(member: Member) -> str:
    return member.name.rpartition(".")[0]


def _suffix(member: Member) -> str:
    return member.name.rpartition(".")[2].lower()
