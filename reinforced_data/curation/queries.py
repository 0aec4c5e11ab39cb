"""What to look for: pictures and texts that the stored teacher encodes, or stored embeddings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from zoo.models.preprocess import open_image
from zoo.reinforced_data.curation.pool import Pool
from zoo.reinforced_data.curation.text_list import read_list
from zoo.reinforced_data.engine.teachers import Teacher
from zoo.reinforced_data.shards.read import IMAGE_SUFFIXES, read_shard
from zoo.reinforced_data.sidecars.header import TeacherInfo
from zoo.reinforced_data.sidecars.sidecar import Sidecar

_BATCH = 64


@dataclass(frozen=True)
class Queries:
    """Q queries: what each is called, and float32 (Q, D) vectors of length 1."""

    names: tuple[str, ...]
    vectors: np.ndarray


def encode_queries(path: Path, teacher: Teacher) -> Queries:
    """Encode a text file (a query a line), a picture, a folder of pictures or those of a shard.

    Raises FileNotFoundError, or ValueError for a file that is none of these or holds nothing.
    """
    if not path.exists():
        raise FileNotFoundError(f"There are no queries '{path}'; give a file or a folder.")
    if path.suffix == ".txt":
        texts = read_list(path)
        return _stack(path, texts, [teacher.encode_texts(part) for part in _batches(texts)])
    names, vectors, waiting = [], [], []
    for name, picture in _pictures(path):
        names.append(name)
        waiting.append(picture)
        if len(waiting) == _BATCH:
            vectors.append(teacher.encode_images(waiting))
            waiting = []
    if waiting:
        vectors.append(teacher.encode_images(waiting))
    return _stack(path, names, vectors)


def stored_queries(pool: Pool, teacher: str) -> Queries:
    """Take the stored image vectors of a pool as queries, called by their keys."""
    names = [
        Sidecar.open(shard.sidecar).keys[row]
        for shard in pool.shards
        for row in shard.rows.tolist()
    ]
    return Queries(tuple(names), np.concatenate(list(pool.image_vectors(teacher))))


def check_same_teacher(stored: TeacherInfo, name: str, pretrained: str) -> None:
    """Raise ValueError unless queries of the teacher `name` compare with those stored."""
    if (stored.name, stored.pretrained) != (name, pretrained):
        raise ValueError(
            f"The queries are of teacher '{name}' ({pretrained}) but the embeddings of "
            f"'{stored.name}' ({stored.pretrained}); only one teacher's can be compared."
        )


def _pictures(path: Path) -> Iterator[tuple[str, Image.Image]]:
    if path.suffix == ".tar":
        return ((sample.key, open_image(sample.image)) for sample in read_shard(path))
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    pictures = [file for file in files if file.suffix.lower()[1:] in IMAGE_SUFFIXES]
    return ((file.name, open_image(file)) for file in pictures)


def _batches(texts: Sequence[str]) -> Iterator[Sequence[str]]:
    return (texts[start : start + _BATCH] for start in range(0, len(texts), _BATCH))


def _stack(path: Path, names: Sequence[str], vectors: Sequence[np.ndarray]) -> Queries:
    if not names:
        raise ValueError(
            f"'{path}' holds no queries; expected a .txt with one a line, pictures "
            f"({', '.join(IMAGE_SUFFIXES)}) or a .tar of them."
        )
    return Queries(tuple(names), np.concatenate(vectors))
