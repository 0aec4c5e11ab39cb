"""Random access to the samples of a shard: the members' places are read once, data on demand."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from zoo.models.preprocess import open_image
from zoo.reinforced_data.shards.read import (
    IMAGE_SUFFIXES,
    build_sample,
    group_members,
    read_captions,
    read_member,
)
from zoo.reinforced_data.shards.sample import Sample
from zoo.reinforced_data.shards.tar_index import Member, index_tar

DIGEST_BYTES = 8

_SUFFIXES = (*IMAGE_SUFFIXES, "txt", "json", "cls")
_ABSENT = -1
_ALL, _CONTENT, _CAPTIONS, _LABEL = slice(None), slice(2), slice(1, 2), 2


class ShardIndex:
    """The samples of one shard by their place, in the order of `read_shard`.

    About 115 bytes a sample, 140 with labels: its key, and where picture, captions and label lie.
    """

    def __init__(self, path: Path, on_error: Literal["stop", "skip"] = "stop") -> None:
        """Check and list every header.

        A sample that cannot be used (no, several or empty images, a doubled member) raises the
        ValueError of `read_shard`, or with `on_error="skip"` keeps its row and is listed in
        `problems`. A damaged tar raises ValueError in either case.
        """
        if not path.is_file():
            raise FileNotFoundError(f"There is no shard {path}; expected a tar file.")
        groups, problems = group_members(path, index_tar(path))
        if problems and on_error == "stop":
            raise ValueError(next(iter(problems.values())))
        self.path = path
        self.keys = tuple(groups)
        self.problems: Mapping[int, str] = {
            i: problems[key] for i, key in enumerate(groups) if key in problems
        }
        """Why a sample cannot be used, by its row; empty with `on_error="stop"`."""
        places = np.array([_places(group) for group in groups.values()], np.int64)
        self.captioned = bool((places[:, _CAPTIONS, 0] != _ABSENT).any())
        """Whether some sample has a caption, or a place for one; without any, pictures are all."""
        labelled = (places[:, _LABEL, 0] != _ABSENT).any()
        self._places = places if labelled else places[:, _CONTENT].copy()

    def __len__(self) -> int:
        return len(self.keys)

    def read(self, i: int) -> Sample:
        """Return sample `i` with picture, captions and label, without other members.

        Raises ValueError, naming shard and key, when it is one of `problems` or its captions or
        label cannot be read.
        """
        return build_sample(self.describe(i), self.keys[i], self._data(i))

    def captions(self, i: int) -> tuple[str, ...]:
        """Return the captions of sample `i` without reading its picture; raises as `read`."""
        return read_captions(self.describe(i), self._data(i, _CAPTIONS))

    def digest(self, i: int) -> bytes:
        """Return `content_digest` of sample `i`; ValueError when it is one of `problems`."""
        return content_digest(self._data(i, _CONTENT))

    def describe(self, i: int) -> str:
        """Name sample `i` for an error message."""
        return f"Sample {self.keys[i]!r} of shard {self.path}"

    def _data(self, i: int, parts: slice = _ALL) -> dict[str, bytes]:
        """Picture, captions and label, by suffix, in this order."""
        if i in self.problems:
            raise ValueError(self.problems[i])
        with self.path.open("rb", buffering=0) as file:
            return {
                _SUFFIXES[suffix]: read_member(self.path, file, Member(self.keys[i], offset, size))
                for suffix, offset, size in self._places[i, parts].tolist()
                if suffix != _ABSENT
            }


def content_digest(data: Mapping[str, bytes]) -> bytes:
    """Return 8 bytes that change with the picture or the captions of a sample.

    `data` are its members by suffix. BLAKE2b of the picture's bytes, then of the caption member's
    (`txt`, else `json`, else nothing).
    """
    image = next(data[suffix] for suffix in IMAGE_SUFFIXES if suffix in data)
    captions = data.get("txt", data.get("json", b""))
    return hashlib.blake2b(image + captions, digest_size=DIGEST_BYTES).digest()


def _places(group: Mapping[str, Member]) -> list[tuple[int, int, int]]:
    """(suffix, offset, size) of picture, captions and label; `txt` goes before `json`."""
    return [_place(group, suffixes) for suffixes in (IMAGE_SUFFIXES, ("txt", "json"), ("cls",))]


def _place(group: Mapping[str, Member], suffixes: tuple[str, ...]) -> tuple[int, int, int]:
    for suffix in suffixes:
        if suffix in group:
            return _SUFFIXES.index(suffix), group[suffix].offset, group[suffix].size
    return _ABSENT, 0, 0


def load_picture(index: ShardIndex, i: int) -> tuple[Sample, Image.Image]:
    """Return sample `i` of a shard and its decoded RGB picture; it has a caption if any has one.

    Raises ValueError, naming shard and key, without that caption or for a damaged picture.
    """
    sample = index.read(i)
    if index.captioned and not sample.captions:
        raise ValueError(f"{index.describe(i)} has no caption; add one or leave the sample out.")
    try:
        return sample, open_image(sample.image)
    except ValueError as error:
        raise ValueError(f"{index.describe(i)} has no usable picture: {error}") from error
