"""Apple's reinforcement read straight from a shard that holds it beside the pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np

from zoo.reinforced_data.augmentation.paug import APPLE_POLICY
from zoo.reinforced_data.augmentation.policy import AugmentationPolicy
from zoo.reinforced_data.datacompdr.members import (
    AUGMENTATION_SUFFIX,
    CAPTION_SUFFIX,
    EMBEDDING_SUFFIXES,
    ReinforcedSample,
    decode_members,
    missing_members,
)
from zoo.reinforced_data.shards.read import IMAGE_SUFFIXES, group_members, read_member
from zoo.reinforced_data.shards.tar_index import Member, TarWalk, index_tar
from zoo.reinforced_data.sidecars.header import SidecarHeader, TeacherInfo

_ABSENT = -1
_SUFFIXES = (*EMBEDDING_SUFFIXES, CAPTION_SUFFIX, AUGMENTATION_SUFFIX, *IMAGE_SUFFIXES)


def has_datacompdr_members(path: Path) -> bool:
    """Say whether a shard holds Apple's recorded augmentations; ValueError for a damaged tar."""
    with path.open("rb") as file:
        members = TarWalk(path, file).members()
        return any(member.name.endswith(f".{AUGMENTATION_SUFFIX}") for member in members)


class DataCompDRShard:
    """One of Apple's shards, joined with its pictures, in the place of a `Sidecar`.

    Every member is read and decoded for each sample that is asked for (one to two milliseconds; the
    last one is kept, so that a training sample pays once). `zoo data import` makes a sidecar of
    it, which costs a few per cent of that.
    """

    def __init__(
        self,
        path: Path,
        *,
        teachers: Sequence[TeacherInfo],
        on_error: Literal["stop", "skip"] = "stop",
    ) -> None:
        """List the members; the first usable sample says how many embeddings there are of each.

        `teachers` are those of the set (`published_sets.teachers_of`). A sample with no usable
        picture or without reinforcement raises ValueError, or with `on_error="skip"` is not
        `valid`. What is inside the members shows only when they are read.
        """
        groups, problems = group_members(path, index_tar(path))
        for key, group in groups.items():
            missing = missing_members(group)
            if missing is not None:
                problems.setdefault(key, f"Sample {key!r} of shard {path} has {missing}.")
        if problems and on_error == "stop":
            raise ValueError(next(iter(problems.values())))
        self.path = path
        self.keys = tuple(groups)
        self.valid = np.array([key not in problems for key in groups], bool)
        self._places = np.array([_places(group) for group in groups.values()], np.int64)
        self._last: tuple[int, ReinforcedSample] | None = None
        self._teachers = tuple(teachers)
        first = self._first_sample()
        self._teachers = tuple(replace(t, storage=first.storage) for t in teachers)
        self.teachers: dict[str, TeacherInfo] = {t.name: t for t in self._teachers}
        self.header = self._header(first)

    @property
    def policy(self) -> AugmentationPolicy:
        """What replays the recorded augmentations."""
        return self.header.augmentation

    def augment_params(self, i: int, augmentation: int) -> np.ndarray:
        """Recorded augmentation of sample `i`: float32 (P,); ValueError as `sample`."""
        return self.sample(i).augment_params[augmentation]

    def caption(self, i: int, caption: int) -> str:
        """Synthetic caption `caption` of sample `i`; ValueError as `sample`."""
        return self.sample(i).captions[caption]

    def image_embedding(self, teacher: str, i: int, augmentation: int) -> np.ndarray:
        """What `teacher` saw in that augmentation of sample `i`: float32 (D,), of length 1."""
        return self.sample(i).image_embeddings[teacher][augmentation]

    def text_embedding(self, teacher: str, i: int, row: int) -> np.ndarray:
        """Of the ground-truth caption (row 0) or synthetic caption c (row 1+c): float32 (D,)."""
        return self.sample(i).text_embeddings[teacher][row]

    def sample(self, i: int) -> ReinforcedSample:
        """Return all that is stored for sample `i`.

        Raises ValueError, naming shard and key, when a member is damaged or unlike those of the
        shard's other samples.
        """
        if self._last is None or self._last[0] != i:
            sample = self._decode(i)
            if sample.counts != (self.header.augmentations, self.header.captions):
                raise ValueError(
                    f"{self._name(i)} has {sample.counts[0]} augmentations and {sample.counts[1]} "
                    f"captions, but the shard's first has {self.header.augmentations} and "
                    f"{self.header.captions}; expected all alike."
                )
            self._last = i, sample
        return self._last[1]

    def check_shard(self, shard: Path, keys: Sequence[str]) -> None:
        """Raise ValueError unless `keys`, those of `shard` in order, are this shard's own."""
        if tuple(keys) != self.keys:
            raise ValueError(f"'{shard}' has other samples than '{self.path}'; expected the same.")

    def _first_sample(self) -> ReinforcedSample:
        usable = np.flatnonzero(self.valid)
        if not len(usable):
            raise ValueError(f"Shard {self.path} holds no reinforced sample with a picture.")
        return self._decode(int(usable[0]))

    def _header(self, first: ReinforcedSample) -> SidecarHeader:
        return SidecarHeader(
            shard=self.path.name,
            shard_bytes=self.path.stat().st_size,
            samples=len(self.keys),
            augmentation=APPLE_POLICY,
            augmentations=first.counts[0],
            captions=first.counts[1],
            captioner={},
            teachers=self._teachers,
            seed=0,
            packages={},
        )

    def _decode(self, i: int) -> ReinforcedSample:
        with self.path.open("rb", buffering=0) as file:
            data = {
                _SUFFIXES[suffix]: read_member(self.path, file, Member(self.keys[i], offset, size))
                for suffix, offset, size in self._places[i].tolist()
                if suffix != _ABSENT
            }
        image = next(data[suffix] for suffix in IMAGE_SUFFIXES if suffix in data)
        return decode_members(self._name(i), data, image, self._teachers)

    def _name(self, i: int) -> str:
        return f"Sample {self.keys[i]!r} of shard {self.path}"


def _places(group: Mapping[str, Member]) -> list[tuple[int, int, int]]:
    """(suffix, offset, size) of embeddings, captions, augmentations and picture."""
    wanted = (EMBEDDING_SUFFIXES, (CAPTION_SUFFIX,), (AUGMENTATION_SUFFIX,), IMAGE_SUFFIXES)
    return [_place(group, suffixes) for suffixes in wanted]


def _place(group: Mapping[str, Member], suffixes: Sequence[str]) -> tuple[int, int, int]:
    for suffix in suffixes:
        if suffix in group:
            return _SUFFIXES.index(suffix), group[suffix].offset, group[suffix].size
    return _ABSENT, 0, 0
