"""The members of a tar, after every header has been checked.

`tarfile`, and webdataset on top of it, takes a damaged header for the end of the archive and
drops the rest without a word. Here the end must really be one.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_CHUNK = 1 << 20


@dataclass(frozen=True)
class Member:
    """Where one file lies inside a shard: byte offset and length of its data."""

    name: str
    offset: int
    size: int


def index_tar(path: Path) -> list[Member]:
    """List the regular files of a tar after checking every header up to the end of the file.

    Raises ValueError, naming file and byte offset, for anything but a whole, uncompressed tar of
    files and folders.
    """
    if path.stat().st_size == 0:
        raise ValueError(f"Shard {path} is empty (0 bytes); expected a tar file.")
    with _open(path) as tar:
        members = [_member(path, info) for info in _headers(path, tar) if not info.isdir()]
        _check_end(path, tar.offset)
    return members


def _open(path: Path) -> tarfile.TarFile:
    try:
        return tarfile.open(path, "r:")
    except tarfile.TarError as error:
        raise ValueError(
            f"{path} is not a plain tar file ({error}); expected an uncompressed webdataset shard."
        ) from error


def _headers(path: Path, tar: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    while True:
        try:
            info = tar.next()
        except tarfile.TarError as error:
            raise ValueError(
                f"Shard {path} is truncated or damaged at byte {tar.offset} ({error}); "
                "copy or write it again."
            ) from error
        if info is None:
            return
        yield info


def _member(path: Path, info: tarfile.TarInfo) -> Member:
    if info.type not in (tarfile.REGTYPE, tarfile.AREGTYPE):
        raise ValueError(
            f"Member {info.name!r} of shard {path} is a link or special file; "
            "expected plain files only."
        )
    return Member(info.name, info.offset_data, info.size)


def _check_end(path: Path, offset: int) -> None:
    """Raise unless the tar's end mark, zeros up to the end of the file, begins at `offset`.

    `tarfile` takes a damaged header for the end of the archive; what lies there tells them apart.
    """
    if path.stat().st_size < offset + tarfile.BLOCKSIZE:
        raise ValueError(
            f"Shard {path} is truncated: the end mark of a tar is missing at byte {offset}; "
            "copy or write it again."
        )
    with path.open("rb") as file:
        file.seek(offset)
        while chunk := file.read(_CHUNK):
            if chunk.count(0) != len(chunk):
                raise ValueError(
                    f"Shard {path} goes on after byte {offset} without a valid header (damage, or "
                    "several tars in one file); copy or write it again."
                )
