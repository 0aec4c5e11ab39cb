"""Pictures as people have them, as samples for shards.

Three layouts:

    dog/1.jpg, cat/2.jpg …         a folder for each class
    1.jpg, 1.txt …                 a caption file beside each picture, one caption a line
    list.csv, .tsv or .jsonl       a table of paths and captions; a path may be in several rows
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from zoo.models.class_names import class_prompts
from zoo.models.preprocess import open_image
from zoo.reinforced_data.shards.read import IMAGE_SUFFIXES, read_captions
from zoo.reinforced_data.shards.sample import Sample

TABLE_SUFFIXES = (".csv", ".tsv", ".jsonl")
PATH_COLUMNS = ("path", "filepath", "image")
CAPTION_COLUMNS = ("caption", "title", "text")
"""Names that a table's columns may have; open_clip's are `filepath` and `title`."""

# Pictures that shards cannot hold: leaving them out in silence would lose data.
_FOREIGN_SUFFIXES = ("avif", "bmp", "gif", "heic", "tif", "tiff")


@dataclass(frozen=True)
class OwnPicture:
    """A picture file and what is known of it."""

    path: Path
    key: str
    """Name of the sample, made of the path."""
    captions: tuple[str, ...]
    label: int | None = None

    def read(self) -> Sample:
        """Return the sample, the file's bytes unchanged.

        Raises ValueError, naming the file, when it cannot be decoded.
        """
        data = self.path.read_bytes()
        try:
            open_image(data)
        except ValueError as error:
            raise ValueError(f"'{self.path}' is no usable picture: {error}") from error
        return Sample(key=self.key, image=data, captions=self.captions, label=self.label)


@dataclass(frozen=True)
class OwnPictures:
    """The pictures of a folder or table, in the order of their names or rows."""

    pictures: tuple[OwnPicture, ...]
    class_names: tuple[str, ...] = ()
    """In label order; empty where the layout has no classes."""


def holds_pictures(source: Path) -> bool:
    """Say whether `source` is a table, or a folder without shards."""
    if source.is_dir():
        return not any(source.glob("*.tar"))
    return source.is_file() and source.suffix.lower() in TABLE_SUFFIXES


def find_pictures(
    source: Path, *, templates: Sequence[str], class_names: Sequence[str] = ()
) -> OwnPictures:
    """List the pictures of a folder or table, decoding none.

    `templates` are the captions of a picture in a class folder, `{}` standing for the class:
    `class_names` in the order of the sorted folders, else the folders' names, `_` read as a space.

    Raises FileNotFoundError when there is nothing at `source`, and ValueError, naming the file, for
    a picture without caption or class, one in a format that shards do not hold, a class name too
    few or too many, and a table that cannot be read.
    """
    if source.suffix.lower() in TABLE_SUFFIXES:
        return OwnPictures(tuple(_with_keys(source.parent, _read_table(source))))
    files = picture_files(source)
    captions = {file: _captions_beside(file) for file in files}
    if any(captions.values()):
        return OwnPictures(tuple(_with_keys(source, captions)))
    return _labelled(source, files, templates, class_names)


def picture_files(folder: Path) -> list[Path]:
    """Return the pictures in a folder and its subfolders, sorted; hidden ones are left out.

    Raises FileNotFoundError when there is no folder, ValueError when it holds no picture, or one
    that shards cannot hold.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"There is no folder '{folder}'; give one with pictures.")
    found = [path for path in sorted(_walk(folder)) if not path.name.startswith(".")]
    for path in found:
        if _suffix(path) in _FOREIGN_SUFFIXES:
            raise ValueError(
                f"'{path}' is in a format that shards do not hold; convert it to JPEG, PNG or WebP."
            )
    pictures = [path for path in found if _suffix(path) in IMAGE_SUFFIXES]
    if not pictures:
        raise ValueError(
            f"The folder {folder} holds no *.tar file and no picture; expected shards, or "
            f"*.{', *.'.join(IMAGE_SUFFIXES)}."
        )
    return pictures


def _walk(folder: Path) -> Iterator[Path]:
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (Path(parent, name) for name in names)


def _labelled(
    folder: Path, files: Sequence[Path], templates: Sequence[str], class_names: Sequence[str]
) -> OwnPictures:
    class_of = {file: file.relative_to(folder).parts[0] for file in files}
    for file in files:
        if file.parent == folder:
            raise ValueError(
                f"'{file}' has neither a caption file '{file.with_suffix('.txt').name}' beside it "
                "nor a class: put the pictures of each class into a folder of its own."
            )
    folders = sorted(set(class_of.values()))
    names = tuple(class_names) or tuple(" ".join(name.split("_")) for name in folders)
    if len(names) != len(folders):
        raise ValueError(
            f"There are {len(names)} class names but '{folder}' has {len(folders)} class folders; "
            "give one name for each folder, in their sorted order."
        )
    prompts = class_captions(names, templates)
    labels = {file: folders.index(class_of[file]) for file in files}
    captions = {file: prompts[label] for file, label in labels.items()}
    return OwnPictures(tuple(_with_keys(folder, captions, labels)), names)


def class_captions(class_names: Sequence[str], templates: Sequence[str]) -> list[tuple[str, ...]]:
    """Return the captions of each class: every template filled with its name."""
    return [tuple(class_prompts([name], templates)) for name in class_names]


def _with_keys(
    folder: Path,
    captions: Mapping[Path, tuple[str, ...]],
    labels: Mapping[Path, int] | None = None,
) -> Iterator[OwnPicture]:
    """Give every picture a key: its path in the folder, without suffix and dots, made unique."""
    taken: set[str] = set()
    for path, texts in captions.items():
        if not texts:
            raise ValueError(
                f"'{path}' has no caption, unlike other pictures; write one into "
                f"'{path.with_suffix('.txt').name}' beside it, or take the picture out."
            )
        key = _unused(Path(os.path.relpath(path, folder)).with_suffix("").as_posix(), taken)
        yield OwnPicture(path, key, texts, None if labels is None else labels[path])


def _unused(name: str, taken: set[str]) -> str:
    name = name.removeprefix("/").replace(".", "_")
    key, number = name, 1
    while key in taken:
        number += 1
        key = f"{name}_{number}"
    taken.add(key)
    return key


def _captions_beside(picture: Path) -> tuple[str, ...]:
    path = picture.with_suffix(".txt")
    return read_captions(f"'{picture}'", {"txt": path.read_bytes()}) if path.is_file() else ()


def _read_table(path: Path) -> dict[Path, tuple[str, ...]]:
    """Captions by picture, in the order of the first row of each; paths count from the table."""
    captions: dict[Path, list[str]] = {}
    for number, row in _rows(path):
        place = f"Row {number} of '{path}'"
        picture = path.parent / _cell(row, PATH_COLUMNS, place)
        if picture not in captions and not picture.is_file():
            raise FileNotFoundError(f"{place} names '{picture}', which is not there.")
        caption = " ".join(_cell(row, CAPTION_COLUMNS, place).split())
        captions.setdefault(picture, []).append(caption)
    if not captions:
        raise ValueError(f"'{path}' has no rows; expected a path and a caption in each.")
    return {picture: tuple(filter(None, texts)) for picture, texts in captions.items()}


def _rows(path: Path) -> Iterator[tuple[int, Mapping[str, object]]]:
    """Rows with their line numbers; a table's first line names its columns."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"'{path}' is not utf-8 ({error}); write it as utf-8.") from error
    if path.suffix.lower() == ".jsonl":
        yield from _json_rows(path, text.splitlines())
        return
    delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
    reader = csv.DictReader(text.splitlines(keepends=True), delimiter=delimiter)
    for row in reader:
        yield reader.line_num, row


def _json_rows(path: Path, lines: Iterable[str]) -> Iterator[tuple[int, Mapping[str, object]]]:
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise ValueError(f"Row {number} of '{path}' is not JSON ({error}).") from error
        if not isinstance(row, dict):
            raise ValueError(f"Row {number} of '{path}' is not a JSON object.")
        yield number, row


def _cell(row: Mapping[str, object], columns: Sequence[str], place: str) -> str:
    value = next((row[column] for column in columns if row.get(column)), None)
    if not isinstance(value, str):
        raise ValueError(
            f"{place} has no text under {' or '.join(columns)}; it has the columns "
            f"{', '.join(str(column) for column in row)}."
        )
    return value


def _suffix(path: Path) -> str:
    return path.suffix.lower().removeprefix(".")
