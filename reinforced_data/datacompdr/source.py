"""Where Apple's members of a sample lie: in its own shard, or in a folder of Apple's shards."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import takewhile
from pathlib import Path
from typing import NamedTuple

import numpy as np

from zoo.reinforced_data.datacompdr.members import MEMBER_SUFFIXES
from zoo.reinforced_data.shards.read import read_member
from zoo.reinforced_data.shards.tar_index import Member, TarWalk, index_tar

_BLOCK = 512


class SampleMembers(NamedTuple):
    """The reinforcement of one sample, not read yet."""

    path: Path
    """The tar that holds it."""
    members: Mapping[str, Member]
    """By suffix."""

    def read(self) -> dict[str, bytes]:
        """Return the content of each member, by suffix."""
        with self.path.open("rb", buffering=0) as file:
            return {
                suffix: read_member(self.path, file, member)
                for suffix, member in self.members.items()
            }


Find = Callable[[Path, Mapping[str, int]], Iterator[tuple[int, SampleMembers]]]
"""(image shard, row by name) -> (row, members) of each sample that is reinforced, once each."""


def find_inside(shard: Path, rows: Mapping[str, int]) -> Iterator[tuple[int, SampleMembers]]:
    """Find the members that lie beside the pictures. Raises ValueError for a damaged tar."""
    return _found(shard, group_reinforcement(index_tar(shard)), rows)


class AppleShards:
    """Apple's shards, which hold no pictures, to be joined with image shards by the sample's name.

    The shard with the image shard's own file name is looked through first. Names that it lacks
    are looked up in a list of all shards, which is made once, when it is first needed: 20 bytes a
    sample, and every header of every shard is read.
    """

    def __init__(
        self, paths: Sequence[Path], on_indexed: Callable[[int, int], None] | None = None
    ) -> None:
        """Take shards of any order; `on_indexed(shards done, shards)` follows the long reading."""
        self._paths = list(paths)
        self._on_indexed = on_indexed
        self._by_name = {path.name: path for path in paths}
        self._places: _Places | None = None

    def find(self, shard: Path, rows: Mapping[str, int]) -> Iterator[tuple[int, SampleMembers]]:
        """Find the members of the samples `rows`; of a sample listed twice, the first.

        Raises ValueError for a damaged shard of Apple's.
        """
        done: set[int] = set()
        namesake = self._by_name.get(shard.name)
        if namesake is not None:
            for row, found in find_inside(namesake, rows):
                done.add(row)
                yield row, found
        rest = {name: row for name, row in rows.items() if row not in done}
        if rest:
            if self._places is None:
                self._places = _Places(self._paths, self._on_indexed)
            yield from self._places.find(rest)


class _Places:
    """For each sample of many shards the hash of its name, its shard, and where it begins."""

    def __init__(
        self, paths: Sequence[Path], on_indexed: Callable[[int, int], None] | None
    ) -> None:
        self._paths = paths
        hashes: list[np.ndarray] = []
        starts: list[np.ndarray] = []
        for number, path in enumerate(paths, 1):
            begins = _beginnings(index_tar(path))
            hashes.append(np.fromiter(map(_hash, begins), np.uint64, len(begins)))
            starts.append(np.fromiter(begins.values(), np.int64, len(begins)))
            if on_indexed is not None:
                on_indexed(number, len(paths))
        shards = np.repeat(np.arange(len(paths), dtype=np.int32), [len(part) for part in hashes])
        self._hashes = np.concatenate(hashes)
        order = np.argsort(self._hashes, kind="stable")
        self._hashes = self._hashes[order]
        self._shards, self._starts = shards[order], np.concatenate(starts)[order]

    def find(self, rows: Mapping[str, int]) -> Iterator[tuple[int, SampleMembers]]:
        """Yield each sample once, shard by shard in the order of their bytes."""
        if not len(self._hashes):
            return
        names = list(rows)
        hashes = np.fromiter(map(_hash, names), np.uint64, len(names))
        at = np.searchsorted(self._hashes, hashes).clip(max=len(self._hashes) - 1)
        hits = np.flatnonzero(self._hashes[at] == hashes)
        done: set[int] = set()
        for k in hits[np.lexsort((self._starts[at[hits]], self._shards[at[hits]]))].tolist():
            row, found = rows[names[k]], self._read(names[k], int(at[k]))
            if row not in done and found.members:
                done.add(row)
                yield row, found

    def _read(self, name: str, at: int) -> SampleMembers:
        path = self._paths[self._shards[at]]
        with path.open("rb") as file:
            walk = TarWalk(path, file).members(int(self._starts[at]))
            # A hash may belong to another name, once in 10¹⁹ pairs: then nothing is taken.
            own = takewhile(lambda member: member.name.startswith(f"{name}."), walk)
            return SampleMembers(path, group_reinforcement(own).get(name, {}))


def group_reinforcement(members: Iterable[Member]) -> dict[str, dict[str, Member]]:
    """Return Apple's members by sample and suffix; the key ends where their suffix begins.

    Of a doubled member the first is kept, everything else in the tar is left out.
    """
    groups: dict[str, dict[str, Member]] = {}
    for member in members:
        for suffix in MEMBER_SUFFIXES:
            if member.name.endswith(f".{suffix}"):
                key = member.name.removesuffix(f".{suffix}")
                groups.setdefault(key, {}).setdefault(suffix, member)
    return groups


def _beginnings(members: Sequence[Member]) -> dict[str, int]:
    """Byte of the tar from which the members of each reinforced sample follow."""
    keys = group_reinforcement(members)
    begins: dict[str, int] = {}
    start = 0
    for member in members:
        for key in _prefixes(member.name):
            if key in keys:
                begins.setdefault(key, start)
        end = member.offset + member.size
        start = end + -end % _BLOCK
    return begins


def _prefixes(name: str) -> Iterator[str]:
    return (name[:dot] for dot in range(len(name)) if name[dot] == ".")


def _found(
    path: Path, groups: Mapping[str, Mapping[str, Member]], rows: Mapping[str, int]
) -> Iterator[tuple[int, SampleMembers]]:
    done: set[int] = set()
    for name, members in groups.items():
        row = rows.get(name)
        if row is not None and row not in done:
            done.add(row)
            yield row, SampleMembers(path, members)


def _hash(name: str) -> int:
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little")
