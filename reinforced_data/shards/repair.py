"""A sound copy of a shard: all that can still be read, as webdataset and zoo both read it."""

from __future__ import annotations

import io
import itertools
import shutil
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from zoo.reinforced_data.shards.read import (
    IMAGE_SUFFIXES,
    group_members,
    is_visible,
    read_member,
)
from zoo.reinforced_data.shards.salvage import salvage_members
from zoo.reinforced_data.shards.tar_index import Member
from zoo.reinforced_data.shards.usable import usable_sample
from zoo.reinforced_data.shards.whole_file import whole_file

_FIRST = "Of several, the first is kept."


@dataclass(frozen=True, kw_only=True)
class Repair:
    """What became of a shard."""

    shard: Path
    copy: Path | None
    """None when nothing of the shard could be used; no file is written then."""
    samples: int
    """Samples in the copy."""
    changes: tuple[str, ...]
    """Every loss and change, a sentence each; empty when the copy is the shard byte for byte."""


def repair_shard(shard: Path, folder: Path) -> Repair:
    """Write a sound copy of `shard` into `folder`, whole or not at all; the shard is only read.

    - Behind a damaged header, reading goes on at the next sound one.
    - Members of a sample come to lie side by side, in the order of the samples' first members.
    - Dots in keys become underscores; of doubled members and of several pictures the first is kept.
    - A sample without a picture that decodes, or whose captions or label cannot be read, or that
      has neither, is left out. Every other member is kept byte for byte.

    A sound shard is copied as it is, so that its sidecar stays valid. Raises ValueError when
    `folder` is the shard's own or already holds a file of that name.
    """
    target = folder / shard.name
    if folder.resolve() == shard.parent.resolve():
        raise ValueError(f"The output {folder} is the folder of the shards; give another one.")
    if target.exists():
        raise ValueError(f"There is already a file {target}; give an empty folder.")
    folder.mkdir(parents=True, exist_ok=True)
    changes: list[str] = []
    samples = list(_sound_samples(shard, changes))
    if samples and not changes:
        with whole_file(target) as temporary:
            shutil.copyfile(shard, temporary)
    elif samples:
        _write(shard, samples, target)
    return Repair(
        shard=shard,
        copy=target if samples else None,
        samples=len(samples),
        changes=tuple(changes),
    )


_Sample = tuple[str, Mapping[str, Member]]  # key and members by suffix


def _sound_samples(shard: Path, changes: list[str]) -> Iterator[_Sample]:
    """Yield what goes into the copy, with its new keys, and tell `changes` of everything else."""
    members, damages = salvage_members(shard)
    changes += map(str, damages)
    visible = [member for member in members if is_visible(member.name)]
    changes += (_ignored(shard, m) for m in members if not is_visible(m.name))
    if not visible:
        return
    groups, problems = group_members(shard, visible)
    places = {member.offset: place for place, member in enumerate(visible)}
    taken = {key for key in groups if "." not in key.rpartition("/")[2]}
    with shard.open("rb") as file:
        for key, members_of_key in groups.items():
            name = f"Sample {key!r} of shard {shard}"
            group = _with_first_picture(members_of_key)
            problem = _problem(shard, file, name, key, group)
            if problem is not None:
                changes.append(f"{problem} It is left out.")
                continue
            if key in problems:
                changes.append(f"{problems[key]} {_FIRST}")
            if not _side_by_side([places[member.offset] for member in group.values()]):
                changes.append(f"{name} has its members side by side now.")
            new_key = _without_dots(key, taken)
            if new_key != key:
                changes.append(f"{name} has the key {new_key!r} now.")
            yield new_key, group


def _ignored(shard: Path, member: Member) -> str:
    return f"Member {member.name!r} of shard {shard}, which belongs to no sample, is left out."


def _with_first_picture(group: Mapping[str, Member]) -> dict[str, Member]:
    pictures = [suffix for suffix in group if suffix in IMAGE_SUFFIXES]
    return {suffix: member for suffix, member in group.items() if suffix not in pictures[1:]}


def _problem(
    shard: Path, file: BinaryIO, name: str, key: str, group: Mapping[str, Member]
) -> str | None:
    """Why a sample cannot be used, if it cannot."""
    if not set(IMAGE_SUFFIXES) & set(group):
        return f"{name} has no image."
    try:
        usable_sample(name, key, {s: read_member(shard, file, m) for s, m in group.items()})
    except ValueError as error:
        return str(error)
    return None


def _side_by_side(places: list[int]) -> bool:
    return max(places) - min(places) == len(places) - 1


def _without_dots(key: str, taken: set[str]) -> str:
    """Return `key` as webdataset reads it whole; a new one is added to `taken`."""
    folder, slash, base = key.rpartition("/")
    if "." not in base:
        return key
    plain = folder + slash + base.replace(".", "_")
    names = itertools.chain([plain], (f"{plain}_{number}" for number in itertools.count(2)))
    new = next(name for name in names if name not in taken)
    taken.add(new)
    return new


def _write(shard: Path, samples: list[_Sample], target: Path) -> None:
    with (
        shard.open("rb") as file,
        whole_file(target) as temporary,
        tarfile.open(temporary, "w", format=tarfile.PAX_FORMAT) as tar,
    ):
        for key, group in samples:
            for suffix, member in group.items():
                data = read_member(shard, file, member)
                info = tarfile.TarInfo(f"{key}.{suffix}")
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
