"""Image shards in webdataset's layout: find them, read them without silent loss, write them.

webdataset writes our tars. Reading is ours, because webdataset 1.0.2 ends a shard silently at a
damaged header, splits samples whose members are interleaved and merges keys that hold a dot.
"""

from __future__ import annotations

import glob
import itertools
import json
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from zoo.reinforced_data.sample import Sample
from zoo.reinforced_data.tar_index import Member, index_tar

IMAGE_SUFFIXES = ("jpg", "jpeg", "png", "webp")
"""Suffixes of a sample's picture, lower case; the suffix of a member is compared in lower case."""

_CAPTION_FIELDS = ("caption", "captions", "text")
_SUFFIX = re.compile(r"[a-z][^/]*")


def find_shards(spec: str | Path | Sequence[str | Path]) -> list[Path]:
    """Return the shards that `spec` names, sorted, each once.

    `spec` is a folder (its `*.tar`), a file, a glob (`data/*.tar`), a brace pattern
    (`data/{00000..00009}.tar`) or a sequence of these. Raises ValueError when a folder, a glob or
    any single name of a brace pattern matches nothing.
    """
    specs = [spec] if isinstance(spec, str | Path) else list(spec)
    if not specs:
        raise ValueError("The list of shards is empty; name a folder, file, glob or brace pattern.")
    return sorted({path for one in specs for path in _expand(str(one))})


def _expand(spec: str) -> list[Path]:
    path = Path(spec).expanduser()
    if path.is_dir():
        return _or_error(sorted(path.glob("*.tar")), f"The folder {path} holds no *.tar file")
    if path.exists():
        return [path]
    return [found for pattern in _expand_braces(str(path)) for found in _expand_glob(pattern)]


def _expand_braces(pattern: str) -> list[str]:
    from braceexpand import braceexpand

    try:
        return list(braceexpand(pattern))
    except ValueError as error:
        raise ValueError(f"The shard pattern {pattern!r} has unbalanced braces.") from error


def _expand_glob(pattern: str) -> list[Path]:
    # A name without wildcards comes back only if it exists, so both cases are one.
    found = [Path(pattern)] if Path(pattern).exists() else sorted(map(Path, glob.glob(pattern)))
    return _or_error(found, f"No shard is named or matched by {pattern!r}")


def _or_error(paths: list[Path], problem: str) -> list[Path]:
    if not paths:
        raise ValueError(f"{problem}; expected a folder, file, glob or brace pattern of tar files.")
    return paths


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
    groups = group_members(path, index_tar(path))
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


def group_members(path: Path, members: list[Member]) -> dict[str, dict[str, Member]]:
    """Return the members of each sample, by key and suffix, in the order of the samples."""
    visible = [member for member in members if _is_visible(member.name)]
    image_keys = {_stem(m.name) for m in visible if _last_suffix(m.name) in IMAGE_SUFFIXES}
    if not visible:
        raise ValueError(f"Shard {path} holds no samples; expected images and their captions.")
    groups: dict[str, dict[str, Member]] = {}
    for member in visible:
        key, suffix = _split_name(member.name, image_keys)
        group = groups.setdefault(key, {})
        if suffix in group:
            raise ValueError(f"Shard {path} holds two members {key}.{suffix}; expected one.")
        group[suffix] = member
    for key, group in groups.items():
        _check_images(f"Sample {key!r} of shard {path}", group)
    return groups


def _is_visible(name: str) -> bool:
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
        if key in image_keys and _SUFFIX.match(suffix):
            return key, suffix
    return _stem(name), _last_suffix(name)


def _check_images(sample: str, group: dict[str, Member]) -> None:
    images = [member for suffix, member in group.items() if suffix in IMAGE_SUFFIXES]
    if not images:
        names = ", ".join(member.name for member in group.values())
        raise ValueError(
            f"{sample} has no image, only {names}; expected one of {', '.join(IMAGE_SUFFIXES)}."
        )
    if len(images) > 1:
        raise ValueError(f"{sample} has {len(images)} images; expected one.")
    if images[0].size == 0:
        raise ValueError(f"{sample} has an image of 0 bytes.")


def build_sample(name: str, key: str, data: dict[str, bytes]) -> Sample:
    """Return the sample whose members hold `data`, by suffix; errors call it `name`."""
    image_suffix = next(suffix for suffix in data if suffix in IMAGE_SUFFIXES)
    known = {image_suffix, "txt", "cls"}
    return Sample(
        key=key,
        image=data[image_suffix],
        captions=_captions(name, data),
        label=_label(name, data["cls"]) if "cls" in data else None,
        extra={suffix: value for suffix, value in data.items() if suffix not in known},
    )


def _captions(name: str, data: dict[str, bytes]) -> tuple[str, ...]:
    if "txt" in data:
        lines = _decode(name, ".txt", data["txt"]).splitlines()
    elif "json" in data:
        lines = _json_captions(name, _decode(name, ".json", data["json"]))
    else:
        lines = []
    return tuple(filter(None, map(_one_line, lines)))


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


def _one_line(caption: str) -> str:
    return " ".join(caption.split())


def _label(name: str, data: bytes) -> int:
    try:
        return int(data)
    except ValueError as error:
        raise ValueError(
            f"{name} has the class {data[:40]!r} in .cls; expected an integer."
        ) from error


def write_shards(
    samples: Iterable[Sample], folder: str | Path, *, samples_per_shard: int = 1000
) -> list[Path]:
    """Write `samples` as `folder/00000.tar`, `00001.tar`, … and return the paths.

    A shard appears under its name only when it is whole. The same samples give the same bytes.
    White space inside a caption, line breaks too, becomes single spaces. Raises ValueError when
    the folder already holds tars, when a key would be read differently by webdataset, and for a
    sample that `read_shard` would refuse.
    """
    if samples_per_shard < 1:
        raise ValueError(f"samples_per_shard is {samples_per_shard}; expected at least 1.")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.glob("*.tar")):
        raise ValueError(f"The folder {folder} already holds *.tar files; give an empty one.")
    remaining = iter(samples)
    paths: list[Path] = []
    for first in remaining:
        paths.append(folder / f"{len(paths):05d}.tar")
        rest = itertools.islice(remaining, samples_per_shard - 1)
        _write_shard(itertools.chain([first], rest), paths[-1])
    return paths


def _write_shard(samples: Iterable[Sample], path: Path) -> None:
    from webdataset.writer import TarWriter

    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            with TarWriter(file, encoder=False, mtime=0) as writer:
                for record in _records(samples, path):
                    writer.write(record)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _records(samples: Iterable[Sample], path: Path) -> Iterator[dict[str, str | bytes]]:
    seen: set[str] = set()
    for sample in samples:
        if sample.key in seen:
            raise ValueError(f"Two samples for shard {path} have the key {sample.key!r}.")
        seen.add(sample.key)
        yield _record(sample)


def _record(sample: Sample) -> dict[str, str | bytes]:
    """Return what webdataset's TarWriter takes: `__key__` and suffix -> bytes."""
    base = sample.key.rpartition("/")[2]
    if not base or "." in base:
        raise ValueError(
            f"The key {sample.key!r} is empty or holds a dot, where webdataset would cut it; "
            "replace dots by underscores."
        )
    _check_extra(sample)
    record: dict[str, str | bytes] = {"__key__": sample.key, _image_suffix(sample): sample.image}
    if sample.captions:
        record["txt"] = "\n".join(map(_one_line, sample.captions)).encode()
    if sample.label is not None:
        record["cls"] = str(sample.label).encode()
    return record | dict(sample.extra)


def _check_extra(sample: Sample) -> None:
    reserved = {*IMAGE_SUFFIXES, "txt", "cls"}
    for suffix in sample.extra:
        if suffix in reserved or not _SUFFIX.fullmatch(suffix) or suffix != suffix.lower():
            raise ValueError(
                f"Sample {sample.key!r} has an extra member {suffix!r}; expected a lower-case "
                f"suffix that begins with a letter and is none of {', '.join(sorted(reserved))}."
            )


def _image_suffix(sample: Sample) -> str:
    if sample.image.startswith(b"\x89PNG"):
        return "png"
    if sample.image.startswith(b"\xff\xd8\xff"):
        return "jpg"
    if sample.image.startswith(b"RIFF") and sample.image[8:12] == b"WEBP":
        return "webp"
    raise ValueError(f"Sample {sample.key!r} holds no PNG, JPEG or WebP picture.")
