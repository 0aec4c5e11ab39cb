"""One's own pictures, packed into shards; labelled shards, given captions."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from zoo.models.class_names import CLASS_NAMES_FILE, DEFAULT_TEMPLATES, read_class_names
from zoo.reinforced_data.randomness import packing_order
from zoo.reinforced_data.shards.find import find_shards, is_url
from zoo.reinforced_data.shards.index import ShardIndex
from zoo.reinforced_data.shards.own_pictures import (
    OwnPictures,
    class_captions,
    find_pictures,
    holds_pictures,
)
from zoo.reinforced_data.shards.read import read_shard
from zoo.reinforced_data.shards.sample import Sample
from zoo.reinforced_data.shards.whole_file import whole_file
from zoo.reinforced_data.shards.write import write_shards

PACKED_FOLDER = "packed"
"""Folder of the cache that holds the shards of pictures, one folder for each content."""

OnProgress = Callable[[int, int], object]
"""(pictures done, all of them)."""


class Packed(NamedTuple):
    """What packing wrote."""

    shards: tuple[Path, ...]
    class_names: tuple[str, ...]
    """In label order; empty where there are no classes."""


def pack_pictures(
    source: Path,
    folder: Path,
    *,
    templates: Sequence[str] = DEFAULT_TEMPLATES,
    class_names: Path | None = None,
    samples_per_shard: int = 1000,
    on_progress: OnProgress = lambda done, total: None,
) -> Packed:
    """Write the pictures of a folder or table as shards, and `classnames.txt` for their classes.

    The pictures' bytes are copied unchanged. They stand in a random order, since a loader mixes
    neighbouring shards only; the same content gives the same shards. `class_names` is a file with a
    name for each class folder, in their sorted order. Raises what `find_pictures` and
    `write_shards` raise, and ValueError, naming the file, for a damaged picture.
    """
    names = () if class_names is None else read_class_names(class_names)
    found = find_pictures(source, templates=templates, class_names=names)
    total = len(found.pictures)
    pictures = (found.pictures[i].read() for i in packing_order(total))
    samples = _counted(pictures, total, on_progress)
    return write_packed(samples, folder, found.class_names, samples_per_shard)


def caption_shards(
    shards: str | Path,
    folder: Path,
    *,
    templates: Sequence[str] = DEFAULT_TEMPLATES,
    class_names: Path | None = None,
    samples_per_shard: int = 1000,
    on_progress: OnProgress = lambda done, total: None,
) -> Packed:
    """Write labelled shards again, each sample with the captions of its class in place of its own.

    `class_names` is a file with a name for each label, by default `classnames.txt` in the folder of
    the shards. Raises ValueError for a sample without a label, or with one that has no name.
    """
    paths = find_shards(shards)
    names = read_class_names(class_names or paths[0].parent / CLASS_NAMES_FILE)
    captions = class_captions(names, templates)
    total = sum(len(ShardIndex(path)) for path in paths)
    samples = (_captioned(sample, path, captions) for path in paths for sample in read_shard(path))
    counted = _counted(samples, total, on_progress)
    return write_packed(counted, folder, names, samples_per_shard)


def shards_of(
    data: str, cache_folder: Path, *, on_progress: OnProgress = lambda done, total: None
) -> str:
    """Return `data`, or the shards made of it where it is a folder or table of pictures.

    They are in `cache_folder`, made once for the same files: names, sizes and times of change.
    Raises what `pack_pictures` raises.
    """
    source = Path(data).expanduser()
    if is_url(data) or not holds_pictures(source):
        return data
    found = find_pictures(source, templates=DEFAULT_TEMPLATES)
    folder = cache_folder / PACKED_FOLDER / _digest(found)
    if not folder.exists():
        _pack_whole(source, folder, on_progress)
    return str(folder)


def _pack_whole(source: Path, folder: Path, on_progress: OnProgress) -> None:
    """The folder appears when it is whole; of several processes that pack at once, one wins."""
    draft = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    try:
        pack_pictures(source, draft, on_progress=on_progress)
        draft.rename(folder)
    except OSError:
        if not folder.exists():
            raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _digest(found: OwnPictures) -> str:
    """Change with any picture's name, size or time of change, caption or label."""
    digest = hashlib.blake2b("\0".join(found.class_names).encode(), digest_size=16)
    for picture in found.pictures:
        status = picture.path.stat()
        content = (picture.key, status.st_size, status.st_mtime_ns, picture.captions, picture.label)
        digest.update(repr(content).encode())
    return digest.hexdigest()


def _captioned(sample: Sample, shard: Path, captions: Sequence[tuple[str, ...]]) -> Sample:
    if sample.label is None or not 0 <= sample.label < len(captions):
        raise ValueError(
            f"Sample {sample.key!r} of shard {shard} has the label {sample.label}, for which there "
            f"is no class name; there are {len(captions)}, counted from 0."
        )
    return replace(sample, captions=captions[sample.label])


def _counted(samples: Iterable[Sample], total: int, on_progress: OnProgress) -> Iterator[Sample]:
    for done, sample in enumerate(samples, start=1):
        yield sample
        on_progress(done, total)


def write_packed(
    samples: Iterable[Sample], folder: Path, class_names: tuple[str, ...], samples_per_shard: int
) -> Packed:
    """Write `samples` as shards to `folder` and, where there are any, the class names beside them.

    Raises what `write_shards` raises.
    """
    shards = write_shards(samples, folder, samples_per_shard=samples_per_shard)
    if class_names:
        with whole_file(folder / CLASS_NAMES_FILE) as temporary:
            temporary.write_text("\n".join(class_names) + "\n", encoding="utf-8")
    return Packed(tuple(shards), class_names)
