"""The members of a tar, after every header has been checked.

webdataset, like `tarfile` below it, takes a damaged header for the end of the archive and drops
the rest without a word. Here the end must really be one.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from zoo.reinforced_data.shards.tar_header import (
    BLOCK,
    EXTENSION_KINDS,
    FILE_KINDS,
    FOLDER_KIND,
    GNU_NAME_KIND,
    PAX_GLOBAL_KIND,
    PAX_KIND,
    Header,
    apply_pax,
    parse_header,
    parse_pax,
)

_CHUNK = 1 << 20
_ZEROS = bytes(BLOCK)
_AGAIN = "copy or write it again."
_PLAIN = "expected plain files only."


class Member(NamedTuple):
    """Where one file lies inside a shard: byte offset and length of its data.

    Bytes of the name that are not utf-8 are written out, as in `caf\\xe9`.
    """

    name: str
    offset: int
    size: int


class DamagedTarError(ValueError):
    """A tar that cannot be read on from byte `offset`.

    `looks_like_end`: `tarfile` and webdataset take the damage for the end and drop what follows.
    """

    def __init__(
        self, path: Path, offset: int, problem: str, *, looks_like_end: bool = False
    ) -> None:
        super().__init__(f"Shard {path} {problem}")
        self.offset, self.looks_like_end = offset, looks_like_end


def index_tar(path: Path) -> list[Member]:
    """List the regular files of a tar after checking every header up to the end of the file.

    Raises ValueError, naming file and byte offset, for anything but a whole, uncompressed tar of
    files and folders.
    """
    with path.open("rb") as file:
        return list(TarWalk(path, file).members())


class TarWalk:
    """The members of an open tar; each is checked when it is asked for."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self._path, self._descriptor = path, file.fileno()
        self.size = os.fstat(self._descriptor).st_size
        self._pax_global: dict[str, bytes] = {}
        self._said: dict[str, bytes] = {}  # by extensions, of the member to come

    def members(self, offset: int = 0) -> Iterator[Member]:
        """List the files whose headers begin at byte `offset` and behind.

        Raises DamagedTarError when it meets a bad header, a link or special file, or an end that
        is none.
        """
        if self.size == 0:
            raise self._damaged(0, "is empty (0 bytes); expected a tar file.")
        while (block := self.read(offset, BLOCK)) != _ZEROS:
            header = self._header(offset, block)
            end = offset + BLOCK + (0 if header.kind == FOLDER_KIND else header.size)
            if end > self.size:
                raise self._damaged(offset, f"is truncated in member at byte {offset}; {_AGAIN}")
            if header.kind in FILE_KINDS:
                yield Member(_text(header.name), offset + BLOCK, header.size)
            elif header.kind in EXTENSION_KINDS:
                self._remember(offset, header)
            elif header.kind != FOLDER_KIND:
                name = _text(header.name)
                raise self._damaged(offset, f"has {name!r}, a link or special file; {_PLAIN}")
            offset = end + -end % BLOCK
        self._check_end(offset)

    def read(self, offset: int, size: int) -> bytes:
        """Return `size` bytes from byte `offset` on, fewer at the end of the file."""
        return os.pread(self._descriptor, size, offset)

    def _header(self, offset: int, block: bytes) -> Header:
        if len(block) < BLOCK and offset:
            raise self._damaged(
                offset, f"is truncated: the end mark of a tar is missing at byte {offset}; {_AGAIN}"
            )
        header = parse_header(block) if len(block) == BLOCK else None
        if header is not None and header.kind not in EXTENSION_KINDS:
            header = self._with_extensions(header)
        if header is None:
            raise self._no_header(offset)
        return header

    def _with_extensions(self, header: Header) -> Header | None:
        said, self._said = self._pax_global | self._said, {}
        return apply_pax(header, said) if said else header

    def _no_header(self, offset: int) -> DamagedTarError:
        if offset == 0:
            return self._damaged(
                offset, "is not a plain tar file; expected an uncompressed webdataset shard."
            )
        return self._damaged(
            offset,
            f"goes on after byte {offset} without a valid header (damage); {_AGAIN}",
            looks_like_end=True,
        )

    def _remember(self, offset: int, header: Header) -> None:
        data = self.read(offset + BLOCK, header.size)
        if header.kind == GNU_NAME_KIND:
            self._said["path"] = data.rstrip(b"\0")
        if header.kind not in (PAX_KIND, PAX_GLOBAL_KIND):
            return
        records = parse_pax(data)
        if records is None:
            raise self._damaged(offset, f"has a damaged pax header at byte {offset}; {_AGAIN}")
        (self._said if header.kind == PAX_KIND else self._pax_global).update(records)

    def _check_end(self, offset: int) -> None:
        """Raise unless there are zeros alone from the end mark at `offset` to the end."""
        for start in range(offset, self.size, _CHUNK):
            chunk = self.read(start, _CHUNK)
            if chunk.count(0) != len(chunk):
                raise self._damaged(
                    offset,
                    f"goes on after byte {offset}, where it has its end mark (damage, or several "
                    f"tars in one file); {_AGAIN}",
                    looks_like_end=True,
                )

    def _damaged(
        self, offset: int, problem: str, *, looks_like_end: bool = False
    ) -> DamagedTarError:
        self._said = {}
        return DamagedTarError(self._path, offset, problem, looks_like_end=looks_like_end)


def _text(name: bytes) -> str:
    return name.decode("utf-8", "backslashreplace")
