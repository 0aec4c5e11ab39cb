"""Evaluation data: pictures opened one at a time, with labels or captions.

From webdataset tars (`KEY.jpg|jpeg|png|webp`, `KEY.cls` one class index, `KEY.txt` captions one a
line) or put together from any iterable of pictures. webdataset drops samples in silence (a damaged
header ends a shard, interleaved or dotted names tear and merge samples), so that every tar is also
walked header by header: a figure is never over a smaller set than the file holds.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol, TypeVar

from PIL import Image

from zoo.models.class_names import read_class_names
from zoo.models.preprocess import ImageSource, open_image

IMAGE_SUFFIXES = ("jpg", "jpeg", "png", "webp")
_BLOCK = 512  # bytes; a tar is a sequence of such blocks and ends with blocks of zeros

TarSample = Mapping[str, bytes]
Value = TypeVar("Value")


class ImageCollection(Protocol):
    """Pictures that can be read again and again, each once and in the same order; a list is one."""

    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[ImageSource]: ...


@dataclass(frozen=True, kw_only=True)
class EvalDataset:
    """Pictures with what is known of them; checked when made.

    Raises ValueError if a count differs from the number of pictures, a label is not an index into
    the class names, or a picture has no caption.
    """

    name: str
    images: ImageCollection
    labels: tuple[int, ...] | None = None
    captions: tuple[tuple[str, ...], ...] | None = None
    class_names: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if not len(self.images):
            raise ValueError(f"{self.name} holds no pictures: check the path.")
        for what, values in (("labels", self.labels), ("captions", self.captions)):
            if values is not None and len(values) != len(self.images):
                raise ValueError(f"{self.name}: {len(self.images)} pictures, {len(values)} {what}.")
        if self.labels is not None and self.class_names is not None:
            self._check_labels(self.labels, len(self.class_names))
        if self.captions is not None and not all(self.captions):
            raise ValueError(
                f"{self.name}: picture {self.captions.index(())} has no caption; give it one."
            )

    def __len__(self) -> int:
        return len(self.images)

    def _check_labels(self, labels: Sequence[int], class_count: int) -> None:
        for index, label in enumerate(labels):
            if not 0 <= label < class_count:
                raise ValueError(
                    f"{self.name}: picture {index} has the label {label}, but there are "
                    f"{class_count} class names; labels count from 0."
                )


class TarImages:
    """The pictures of some tars in order, decoded while iterating; nothing is kept."""

    def __init__(self, shards: Sequence[Path], count: int) -> None:
        self._shards = shards
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Image.Image]:
        for shard in self._shards:
            for sample in read_samples(shard):
                yield _open_sample_image(sample, shard)


def read_tar_dataset(
    shards: str | Path | Sequence[Path],
    *,
    name: str | None = None,
    class_names: str | Path | Sequence[str] | None = None,
) -> EvalDataset:
    """An `EvalDataset` from webdataset tars: a tar, a folder of tars, or a list of tars.

    `class_names` is a list, or a text file with one name a line. The dataset has labels if the
    samples have a `.cls`, and captions if they have a `.txt`. `name` defaults to the path.

    Raises:
        FileNotFoundError: a tar or the file of class names does not exist.
        ValueError: a tar is damaged or loses samples in webdataset, or a sample lacks what the
            others have; the sentence names the tar and the sample.
    """
    paths = _shard_paths(shards)
    labels: list[int | None] = []
    captions: list[tuple[str, ...] | None] = []
    for path in paths:
        for sample in read_samples(path):
            labels.append(_label(sample, path))
            captions.append(_captions(sample, path))
    name = name or (str(shards) if isinstance(shards, str | Path) else str(paths[0].parent))
    return EvalDataset(
        name=name,
        images=TarImages(paths, len(labels)),
        labels=_all_or_none(labels, ".cls", name),
        captions=_all_or_none(captions, ".txt", name),
        class_names=None if class_names is None else read_class_names(class_names),
    )


def read_samples(path: Path) -> Iterator[TarSample]:
    """Samples of one tar as webdataset groups them: suffix to bytes, key under `__key__`.

    Raises:
        FileNotFoundError: there is no such tar.
        ValueError: the tar is damaged or cut short, or webdataset does not give one sample for
            each image member.
    """
    from webdataset.tariterators import group_by_keys, tar_file_expander

    members = count_image_members(path)
    found = 0
    with path.open("rb") as stream:
        files = tar_file_expander([{"url": str(path), "stream": stream}])
        try:
            for sample in group_by_keys(files):
                found += _image_suffix(sample) is not None
                yield sample
        except (tarfile.TarError, ValueError) as error:
            raise ValueError(f"{path} cannot be read as webdataset: {error.args[0]}.") from error
    if found != members:
        raise ValueError(
            f"{path} holds {members} pictures, but webdataset reads {found} samples with an "
            "image: give every sample a key of its own without dots and put its files in a row."
        )


def count_image_members(path: Path) -> int:
    """Number of pictures in a tar, walking every header to the end-of-archive mark.

    Further image files of a sample, such as `KEY.mask.png`, do not count.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not a plain tar, a header is damaged, or the end is missing.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist: give a tar or a folder of tars.")
    with path.open("rb") as stream:
        try:
            with tarfile.open(fileobj=stream, mode="r:") as archive:
                members = archive.getmembers()
                end = archive.offset
        except tarfile.TarError as error:
            raise ValueError(f"{path} is not a whole tar ({error}): write it again.") from error
        # At a damaged header tarfile stops as if the archive ended there.
        _require_end_mark(stream, end, path)
    return _count_pictures([member.name for member in members if member.isreg()])


def _count_pictures(names: Sequence[str]) -> int:
    """Images that open a sample; `KEY.mask.png` beside `KEY.png` belongs to that sample."""
    keys = {name.rpartition(".")[0] for name in names if _is_image_name(name)}
    return sum(
        _is_image_name(name) and not _belongs_to_another(name.rpartition(".")[0], keys)
        for name in names
    )


def _belongs_to_another(key: str, keys: Set[str]) -> bool:
    parts = key.split(".")
    return any(".".join(parts[:count]) in keys for count in range(1, len(parts)))


def _require_end_mark(stream: BinaryIO, end: int, path: Path) -> None:
    stream.seek(end)
    mark = stream.read(_BLOCK)
    damaged = len(mark) < _BLOCK or any(mark)
    while not damaged and (block := stream.read(1 << 20)):
        damaged = any(block)
    if damaged:
        raise ValueError(f"{path} is damaged or cut short after byte {end}: write it again.")


def _shard_paths(shards: str | Path | Sequence[Path]) -> list[Path]:
    if not isinstance(shards, str | Path):
        paths = list(shards)
    elif Path(shards).is_dir():
        paths = sorted(Path(shards).glob("*.tar"))
    else:
        paths = [Path(shards)]
    if not paths:
        raise ValueError(f"There are no tars in {shards}: give a tar or a folder of tars.")
    return paths


def _is_image_name(name: str) -> bool:
    return name.rpartition(".")[2].lower() in IMAGE_SUFFIXES


def _image_suffix(sample: TarSample) -> str | None:
    return next((suffix for suffix in IMAGE_SUFFIXES if suffix in sample), None)


def _open_sample_image(sample: TarSample, shard: Path) -> Image.Image:
    suffix = _image_suffix(sample)
    if suffix is None:
        raise ValueError(f"{shard}: the sample {sample['__key__']} has no image file.")
    try:
        return open_image(sample[suffix])
    except ValueError as error:
        raise ValueError(f"{shard}, sample {sample['__key__']}: {error}") from error


def _label(sample: TarSample, shard: Path) -> int | None:
    text = sample.get("cls")
    if text is None:
        return None
    try:
        return int(text)
    except ValueError as error:
        raise ValueError(
            f"{shard}: {sample['__key__']}.cls holds {text[:40]!r}, not a class index from 0."
        ) from error


def _captions(sample: TarSample, shard: Path) -> tuple[str, ...] | None:
    text = sample.get("txt")
    if text is None:
        return None
    name = f"{shard}: {sample['__key__']}.txt"
    lines = (line.strip() for line in _decode(text, name).splitlines())
    return tuple(line for line in lines if line)


def _decode(text: bytes, name: str) -> str:
    try:
        return text.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{name} is not utf-8 text: save it as utf-8.") from error


def _all_or_none(
    values: Sequence[Value | None], suffix: str, name: str
) -> tuple[Value, ...] | None:
    given = tuple(value for value in values if value is not None)
    if given and len(given) != len(values):
        raise ValueError(f"{name}: {len(given)} of {len(values)} samples have a {suffix} file.")
    return given or None
