"""Image shards in webdataset's layout, read without silent loss.

webdataset writes our tars. Reading is ours, because webdataset 1.0.2 ends a shard silently at a
damaged header, splits samples whose members are interleaved and merges keys that hold a dot.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

from zoo.reinforced_data.shards.sample import Sample
from zoo.reinforced_data.shards.tar_index import Member, index_tar

IMAGE_SUFFIXES = ("jpg", "jpeg", "png", "webp")
"""Suffixes of a sample's picture, lower case; the suffix of a member is compared in lower case."""

_CAPTION_FIELDS = ("caption", "captions", "text")
SUFFIX = re.compile(r"[a-z][^/]*")


def read_shard(path: str | Path) -> Iterator[Sample]:
    """Return the samples of the tar `path`, in the order of each sample's first member.

    All headers are checked before this returns, so a damaged shard fails whole and at once; the
    data are read one sample at a time. Damage inside a member's data is not visible in a tar.

    - The key ends where webdataset's would (at the first dot), except that `KEY.jpg` always opens
      a sample of its own: `v1.0.jpg` and `v1.1.jpg` are two samples here, one in webdataset.
      A member belongs to the shortest such key that, with a dot and a letter, begins its name.
    - Members of one sample may lie anywhere in the shard: they are grouped over the whole of it,
      since an unsorted tar is complete data and only webdataset's streaming needs the order.
    - Folders, hidden files and names without a suffix are skipped, as webdataset does.

    Captions are the lines of `.txt`, else `caption`, `captions` or `text` of `.json`.
    Raises FileNotFoundError when there is no such file; ValueError, naming shard and member or
    byte offset, for a file that is not a tar, a truncated or damaged one, links, doubled members,
    a sample with no, several or empty images, and captions or labels that cannot be read.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no shard {path}; expected a tar file.")
    groups, problems = group_members(path, index_tar(path))
    if problems:
        raise ValueError(next(iter(problems.values())))
    return _samples(path, groups)


def _samples(path: Path, groups: dict[str, dict[str, Member]]) -> Iterator[Sample]:
    with path.open("rb") as file:
        for key, members in groups.items():
            data = {suffix: read_member(path, file, member) for suffix, member in members.items()}
            yield build_sample(f"Sample {key!r} of shard {path}", key, data)


def read_member(path: Path, file: BinaryIO, member: Member) -> bytes:
    """Return the bytes of a member of the open tar; ValueError when the file ends inside it."""
    file.seek(member.offset)
    data = file.read(member.size)
    if len(data) != member.size:
        raise ValueError(f"Shard {path} became shorter while it was read, at {member.name!r}.")
    return data


def group_members(
    path: Path, members: list[Member]
) -> tuple[dict[str, dict[str, Member]], dict[str, str]]:
    """Return the members of each sample by key and suffix, in order, and what is wrong, by key.

    Of a doubled member the first is kept. A problem is one sentence that names shard and key.
    """
    visible = [member for member in members if is_visible(member.name)]
    image_keys = {_stem(m.name) for m in visible if _last_suffix(m.name) in IMAGE_SUFFIXES}
    if not visible:
        raise ValueError(f"Shard {path} holds no samples; expected images and their captions.")
    groups: dict[str, dict[str, Member]] = {}
    problems: dict[str, str] = {}
    for member in visible:
        key, suffix = _split_name(member.name, image_keys)
        if groups.setdefault(key, {}).setdefault(suffix, member) is not member:
            twice = f"Shard {path} holds two members {key}.{suffix}; expected one."
            problems.setdefault(key, twice)
    for key, group in groups.items():
        problem = _image_problem(group)
        if problem is not None:
            problems.setdefault(key, f"Sample {key!r} of shard {path} has {problem}")
    return groups, problems


def is_visible(name: str) -> bool:
    """Say whether a member belongs to a sample: hidden files and names without suffix do not."""
    base = name.rpartition("/")[2]
    return "." in base and not base.startswith(".")


def _stem(name: str) -> str:
    return name.rpartition(".")[0]


def _last_suffix(name: str) -> str:
    return name.rpartition(".")[2].lower()


def _split_name(name: str, image_keys: set[str]) -> tuple[str, str]:
    start = name.rfind("/") + 1
    dots = [index for index in range(start, len(name)) if name[index] == "."]
    for dot in dots:
        key, suffix = name[:dot], name[dot + 1 :].lower()
        if key in image_keys and SUFFIX.match(suffix):
            return key, suffix
    return _stem(name), _last_suffix(name)


def _image_problem(group: dict[str, Member]) -> str | None:
    images = [member for suffix, member in group.items() if suffix in IMAGE_SUFFIXES]
    if not images:
        names = ", ".join(member.name for member in group.values())
        return f"no image, only {names}; expected one of {', '.join(IMAGE_SUFFIXES)}."
    if len(images) > 1:
        return f"{len(images)} images; expected one."
    if images[0].size == 0:
        return "an image of 0 bytes."
    return None


def build_sample(name: str, key: str, data: Mapping[str, bytes]) -> Sample:
    """Return the sample whose members hold `data`, by suffix; errors call it `name`."""
    image_suffix = next(suffix for suffix in data if suffix in IMAGE_SUFFIXES)
    known = {image_suffix, "txt", "cls"}
    return Sample(
        key=key,
        image=data[image_suffix],
        captions=read_captions(name, data),
        label=_label(name, data["cls"]) if "cls" in data else None,
        extra={suffix: value for suffix, value in data.items() if suffix not in known},
    )


def read_captions(name: str, data: Mapping[str, bytes]) -> tuple[str, ...]:
    """Return the captions in the members `data`, by suffix; errors call their sample `name`."""
    if "txt" in data:
        lines = _decode(name, ".txt", data["txt"]).splitlines()
    elif "json" in data:
        lines = _json_captions(name, _decode(name, ".json", data["json"]))
    else:
        lines = []
    return tuple(filter(None, map(one_line, lines)))


def _decode(name: str, suffix: str, data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{name} has a {suffix} that is not utf-8 ({error}).") from error


def _json_captions(name: str, text: str) -> list[str]:
    try:
        content = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"{name} has a .json that is not JSON ({error}).") from error
    if not isinstance(content, dict):
        return []
    found = next((content[field] for field in _CAPTION_FIELDS if content.get(field)), [])
    captions = [found] if isinstance(found, str) else found
    if not isinstance(captions, list) or not all(isinstance(one, str) for one in captions):
        raise ValueError(
            f"{name} has captions in .json that are neither a text nor a list of them."
        )
    return captions


def one_line(caption: str) -> str:
    return " ".join(caption.split())


def _label(name: str, data: bytes) -> int:
    try:
        return int(data)
    except ValueError as error:
        raise ValueError(
            f"{name} has the class {data[:40]!r} in .cls; expected an integer."
        ) from error
