"""Write samples as shards in webdataset's layout, each whole or absent."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path

from zoo.reinforced_data.shards.read import IMAGE_SUFFIXES, SUFFIX, one_line
from zoo.reinforced_data.shards.sample import Sample
from zoo.reinforced_data.shards.whole_file import whole_file


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

    with (
        whole_file(path) as temporary,
        temporary.open("wb") as file,
        TarWriter(file, encoder=False, mtime=0) as writer,
    ):
        for record in _records(samples, path):
            writer.write(record)


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
        record["txt"] = "\n".join(map(one_line, sample.captions)).encode()
    if sample.label is not None:
        record["cls"] = str(sample.label).encode()
    return record | dict(sample.extra)


def _check_extra(sample: Sample) -> None:
    reserved = {*IMAGE_SUFFIXES, "txt", "cls"}
    for suffix in sample.extra:
        if suffix in reserved or not SUFFIX.fullmatch(suffix) or suffix != suffix.lower():
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
