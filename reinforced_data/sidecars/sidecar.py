"""The reinforcement sidecar: what teachers and captioners said about one shard, beside it.

Tensors, for N samples, A augmentations of P numbers, C synthetic captions, a teacher of D numbers:

    keys.bytes, keys.offsets          uint8 (·), int64 (N+1)      sample keys in shard order, utf-8
    valid                             uint8 (N,)                  0: the sample could not be used
    augment.params                    float32 (N, A, P)           recorded augmentations
    captions.bytes, captions.offsets  uint8 (·), int64 (N·C+1)    synthetic captions, utf-8
    image.TEACHER.values, .scale      int8 (N, A, D), float16 (N, A)
    text.TEACHER.values, .scale       int8 (N, 1+C, D), float16 (N, 1+C)

Row 0 of `text` is the first ground-truth caption, row 1+c the synthetic caption c. A sample that is
not valid keeps its row, filled with zeros and empty captions. fp16, bf16 and fp32 have no `.scale`.
The metadata are the strings of `SidecarHeader`; bytes depend on the content alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from zoo.reinforced_data.augmentation.policy import AugmentationPolicy
from zoo.reinforced_data.sidecars.embedding_storage import (
    RowReader,
    encode_embeddings,
    row_reader,
)
from zoo.reinforced_data.sidecars.header import SidecarHeader, TeacherInfo
from zoo.reinforced_data.sidecars.tensor_file import TensorFile, write_tensors


def sidecar_path(shard: str | Path) -> Path:
    """Return the path of a shard's sidecar: `00012.tar` -> `00012.reinforced.safetensors`."""
    shard = Path(shard)
    return shard.with_name(f"{shard.name.removesuffix('.tar')}.reinforced.safetensors")


@dataclass(frozen=True, kw_only=True)
class SidecarRows:
    """The content of a sidecar, row by row; embeddings float32, by the teacher's name."""

    keys: Sequence[str]
    valid: np.ndarray
    """bool (N,)"""
    augment_params: np.ndarray
    """float32 (N, A, P)"""
    captions: list[tuple[str, ...]]
    """C strings for each of N samples; of a sample that is not valid, empty strings."""
    image_embeddings: Mapping[str, np.ndarray]
    """float32 (N, A, D)"""
    text_embeddings: Mapping[str, np.ndarray]
    """float32 (N, 1+C, D)"""


def write_sidecar(path: Path, header: SidecarHeader, rows: SidecarRows) -> None:
    """Write a sidecar whole or not at all.

    Raises ValueError when a teacher's embeddings are not finite: nothing is written then.
    """
    assert len(rows.keys) == len(rows.valid) == len(rows.captions) == header.samples
    tensors = {"valid": rows.valid.astype(np.uint8), "augment.params": rows.augment_params}
    tensors |= _pack("keys", rows.keys)
    tensors |= _pack("captions", [text for captions in rows.captions for text in captions])
    for teacher in header.teachers:
        for kind, source in (("image", rows.image_embeddings), ("text", rows.text_embeddings)):
            _check_finite(source[teacher.name], f"{kind} embeddings of teacher '{teacher.name}'")
            encoded = encode_embeddings(source[teacher.name], teacher.storage)
            tensors |= {f"{kind}.{teacher.name}.{part}": array for part, array in encoded.items()}
    write_tensors(path, tensors, header.to_metadata())


class Sidecar:
    """A sidecar mapped into memory: each method reads the rows that it returns, nothing else."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._file = TensorFile(self.path)
        self.header = SidecarHeader.from_metadata(self._file.metadata, self.path)
        self.teachers: dict[str, TeacherInfo] = {t.name: t for t in self.header.teachers}
        self.valid = self._file.tensors["valid"].astype(bool)
        self._augment_params = self._file.tensors["augment.params"]
        self._caption_bytes, self._caption_offsets = self._packed("captions")
        self._image_rows = {t.name: self._reader("image", t) for t in self.header.teachers}
        self._text_rows = {t.name: self._reader("text", t) for t in self.header.teachers}

    @classmethod
    def open(cls, path: str | Path) -> Sidecar:
        """Open a sidecar of any size in the time that its header takes.

        Raises FileNotFoundError, or ValueError for a foreign, truncated or altered file.
        """
        return cls(path)

    def __reduce__(self) -> tuple[Callable[[Path], Sidecar], tuple[Path]]:
        return Sidecar.open, (self.path,)  # a worker process maps the file again

    @property
    def policy(self) -> AugmentationPolicy:
        """The policy that drew and can replay the recorded augmentations."""
        return self.header.augmentation

    @cached_property
    def keys(self) -> tuple[str, ...]:
        """Sample keys in shard order."""
        content, offsets = self._packed("keys")
        return tuple(_text(content, offsets, i) for i in range(self.header.samples))

    def augment_params(self, i: int, augmentation: int) -> np.ndarray:
        """Recorded augmentation of sample `i`: float32 (P,)."""
        return self._augment_params[i, augmentation]

    def captions(self, i: int) -> tuple[str, ...]:
        """The C synthetic captions of sample `i`."""
        first = i * self.header.captions
        rows = range(first, first + self.header.captions)
        return tuple(_text(self._caption_bytes, self._caption_offsets, row) for row in rows)

    def image_embedding(self, teacher: str, i: int, augmentation: int) -> np.ndarray:
        """What `teacher` saw in that augmentation of sample `i`: float32 (D,), of length 1."""
        return self._image_rows[teacher](i, augmentation)

    def text_embedding(self, teacher: str, i: int, row: int) -> np.ndarray:
        """The teacher's embedding of text `row` of sample `i`: float32 (D,), of length 1.

        Row 0 is the first ground-truth caption, row 1+c synthetic caption c.
        """
        return self._text_rows[teacher](i, row)

    def check_shard(self, shard: Path, keys: Sequence[str]) -> None:
        """Raise ValueError unless `keys`, those of `shard` in order, are the sidecar's own."""
        if len(keys) != len(self.keys):
            raise ValueError(
                f"'{self.path}' has {len(self.keys)} samples but '{shard}' has {len(keys)}: "
                "the shard has changed; reinforce it again."
            )
        for i, (ours, theirs) in enumerate(zip(self.keys, keys, strict=True)):
            if ours != theirs:
                raise ValueError(
                    f"Sample {i} is '{theirs}' in '{shard}' but '{ours}' in '{self.path}': "
                    "the shard has changed; reinforce it again."
                )

    def verify(self) -> None:
        """Read the whole file; ValueError when a value has changed since it was written."""
        self._file.verify()

    def _packed(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        return self._file.tensors[f"{name}.bytes"], self._file.tensors[f"{name}.offsets"]

    def _reader(self, kind: str, teacher: TeacherInfo) -> RowReader:
        prefix = f"{kind}.{teacher.name}."
        parts = {name: t for name, t in self._file.tensors.items() if name.startswith(prefix)}
        by_part = {name.removeprefix(prefix): tensor for name, tensor in parts.items()}
        return row_reader(by_part, teacher.storage)


def _pack(name: str, strings: Sequence[str]) -> dict[str, np.ndarray]:
    encoded = [text.encode() for text in strings]
    offsets = np.cumsum([0, *map(len, encoded)], dtype=np.int64)
    content = np.frombuffer(b"".join(encoded), np.uint8)
    return {f"{name}.bytes": content, f"{name}.offsets": offsets}


def _text(content: np.ndarray, offsets: np.ndarray, row: int) -> str:
    return content[offsets.item(row) : offsets.item(row + 1)].tobytes().decode()


def _check_finite(embeddings: np.ndarray, name: str) -> None:
    if not np.isfinite(embeddings).all():
        raise ValueError(
            f"The {name} are not finite; its weights or its numeric type are at fault."
        )
