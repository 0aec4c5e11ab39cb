"""Conversations in LLaVA's form, read as questions, from a file or from shards.

A sample is {"id", "image": path or list of paths or absent, "conversations": [{"from": "human",
"value": …}, {"from": "gpt", "value": …}, …]}. Every pair is a question of its own, asked about the
sample's pictures without the pairs before it. A "kind" beside the "value" of the question, or of
the whole sample, names the group that is scored apart.
"""

from __future__ import annotations

import json
import re
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from zoo.eval.datasets import IMAGE_SUFFIXES, count_image_members
from zoo.eval.vision_language.question import Question, read_json, read_json_lines
from zoo.models.preprocess import ImageSource

_NUMBERED = re.compile(r"(.+)\.(\d+)")


def read_questions(data: str | Path, *, images: str | Path | None = None) -> list[Question]:
    """Return the questions of a LLaVA `.json` or `.jsonl` file, a shard, or a folder of shards.

    `images` is the folder that the paths of a file start from; by default the file's own. Shards
    (`KEY.json` beside `KEY.jpg`, or beside `KEY.0.jpg`, `KEY.1.jpg`, …) hold their pictures, which
    are kept in memory as encoded.

    Raises FileNotFoundError where there is no such file, and ValueError for one of another form;
    the sentence names the file and the sample.
    """
    data = Path(data)
    if data.suffix in (".json", ".jsonl"):
        samples = read_json(data) if data.suffix == ".json" else read_json_lines(data)
        found = _of_file(samples, data.parent if images is None else Path(images), data)
    else:
        shards = sorted(data.glob("*.tar")) if data.is_dir() else [data]
        found = (question for shard in shards for question in _of_shard(shard))
    questions = list(found)
    if not questions:
        raise ValueError(f"{data} holds no conversations; give LLaVA's .json or .jsonl, or shards.")
    return questions


def _of_file(samples: Any, folder: Path, path: Path) -> Iterator[Question]:
    if not isinstance(samples, list):
        raise ValueError(f"{path} holds {type(samples).__name__}, not a list of conversations.")
    for number, sample in enumerate(samples):
        image = sample.get("image") if isinstance(sample, dict) else None
        names = [image] if isinstance(image, str) else image or []
        pictures = [folder / name for name in names]
        yield from _pairs(sample, str(number), pictures, f"{path}, sample {number}")


def _of_shard(shard: Path) -> Iterator[Question]:
    count_image_members(shard)  # at a damaged header tarfile stops as if the archive ended there
    with tarfile.open(shard, mode="r:") as archive:
        members = {entry.name: entry for entry in archive.getmembers() if entry.isreg()}
        pictures = _pictures_by_key(members)
        for name, entry in members.items():
            key, _, suffix = name.rpartition(".")
            if suffix == "json":
                where = f"{shard}, {name}"
                images = [_read(archive, members[picture]) for picture in pictures.get(key, ())]
                sample = _parse(_read(archive, entry), where)
                yield from _pairs(sample, f"{shard.stem}/{key}", images, where)


def _read(archive: tarfile.TarFile, entry: tarfile.TarInfo) -> bytes:
    stream = archive.extractfile(entry)
    assert stream is not None, "what is no file was left out"
    return stream.read()


def _pictures_by_key(names: Iterable[str]) -> dict[str, list[str]]:
    """Names of the pictures of every key, in the order of their numbers."""
    numbered: dict[str, list[tuple[int, str]]] = {}
    for name in names:
        stem, _, suffix = name.rpartition(".")
        if suffix.lower() in IMAGE_SUFFIXES:
            several = _NUMBERED.fullmatch(stem)
            key, number = several.groups() if several else (stem, 0)
            numbered.setdefault(key, []).append((int(number), name))
    return {key: [name for _, name in sorted(pictures)] for key, pictures in numbered.items()}


def _parse(data: bytes, where: str) -> Any:
    try:
        return json.loads(data)
    except ValueError as error:
        raise ValueError(f"{where} is not JSON ({error}).") from error


def _pairs(sample: Any, id: str, pictures: Sequence[ImageSource], where: str) -> Iterator[Question]:
    turns = sample.get("conversations") if isinstance(sample, dict) else None
    if not isinstance(turns, list) or not turns or len(turns) % 2:
        raise ValueError(f"{where} has no 'conversations' of questions and answers in turn.")
    for place in range(0, len(turns), 2):
        question, answer = turns[place : place + 2]
        if (_said_by(question), _said_by(answer)) != ("human", "gpt"):
            raise ValueError(f"{where}: turns {place} and {place + 1} are not human's and gpt's.")
        yield Question(
            id=f"{id}/{place // 2}",
            prompt=question["value"],
            images=tuple(pictures),
            answers=(answer["value"],),
            kind=str(question.get("kind", sample.get("kind", ""))),
        )


def _said_by(turn: Any) -> str | None:
    is_turn = isinstance(turn, dict) and isinstance(turn.get("value"), str)
    return turn.get("from") if is_turn else None
