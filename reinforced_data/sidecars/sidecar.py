"""The reinforcement sidecar: what teachers and captioners said about one shard, beside it.

Tensors, for N samples, A augmentations of P numbers, C synthetic captions, a teacher of D numbers:

    keys.bytes, keys.offsets          uint8 (·), int64 (N+1)      sample keys in shard order, utf-8
    digests                           uint8 (N, 8)                of picture and captions
    valid                             uint8 (N,)                  0: the sample could not be used
    augment.params                    float32 (N, A, P)           recorded augmentations
    captions.bytes, captions.offsets  uint8 (·), int64 (N·C+1)    synthetic captions, utf-8
    image.TEACHER.values, .scale      int8 (N, A, D), float16 (N, A)
    text.TEACHER.values, .scale       int8 (N, 1+C, D), float16 (N, 1+C)

Row 0 of `text` is the first ground-truth caption, row 1+c the synthetic caption c. A sample that is
not valid keeps its row, filled with zeros and empty captions. fp16, bf16 and fp32 have no `.scale`.
`digests` are those of `shards.index.content_digest`, zeros where a sample cannot be read.
The metadata are the strings of `SidecarHeader`; bytes depend on the content alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np

from zoo.reinforced_data.augmentation.policy import AugmentationPolicy
from zoo.reinforced_data.sidecars.embedding_storage import (
    EmbeddingRows,
    RowReader,
    decode_rows,
    row_reader,
)
from zoo.reinforced_data.sidecars.header import SidecarHeader, TeacherInfo
from zoo.reinforced_data.sidecars.packed_strings import pack_strings, unpack_strings
from zoo.reinforced_data.sidecars.tensor_file import TensorFile, write_tensors


def sidecar_path(shard: str | Path) -> Path:
    """Return the path of a shard's sidecar: `00012.tar` -> `00012.reinforced.safetensors`."""
    shard = Path(shard)
    return shard.with_name(f"{shard.name.removesuffix('.tar')}.reinforced.safetensors")


@dataclass(frozen=True, kw_only=True)
class SidecarRows:
    """The content of a sidecar, row by row; embeddings by the teacher's name, as stored."""

    keys: Sequence[str]
    digests: np.ndarray
    """uint8 (N, 8)"""
    valid: np.ndarray
    """bool (N,)"""
    augment_params: np.ndarray
    """float32 (N, A, P)"""
    captions: list[tuple[str, ...]]
    """C strings for each of N samples; of a sample that is not valid, empty strings."""
    image_embeddings: Mapping[str, EmbeddingRows]
    """(N, A, D)"""
    text_embeddings: Mapping[str, EmbeddingRows]
    """(N, 1+C, D)"""


def write_sidecar(path: Path, header: SidecarHeader, rows: SidecarRows) -> None:
    """Write a sidecar whole or not at all."""
    assert len(rows.keys) == len(rows.valid) == len(rows.captions) == header.samples
    tensors = {
        "digests": rows.digests,
        "valid": rows.valid.astype(np.uint8),
        "augment.params": rows.augment_params,
    }
    tensors |= pack_strings("keys", rows.keys)
    tensors |= pack_strings("captions", [text for captions in rows.captions for text in captions])
    for teacher in header.teachers:
        for kind, source in (("image", rows.image_embeddings), ("text", rows.text_embeddings)):
            stored = source[teacher.name].tensors
            tensors |= {f"{kind}.{teacher.name}.{part}": array for part, array in stored.items()}
    write_tensors(path, tensors, header.to_metadata())


class Sidecar:
    """A sidecar mapped into memory: each method reads the rows that it returns, nothing else."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._file = TensorFile(self.path)
        self.header = SidecarHeader.from_metadata(self._file.metadata, self.path)
        self.teachers: dict[str, TeacherInfo] = {t.name: t for t in self.header.teachers}
        self.valid = self._file.tensors["valid"].astype(bool)
        self.digests = self._file.tensors["digests"]
        """Of picture and captions of each sample, zeros where unknown: uint8 (N, 8)."""
        self._augment_params = self._file.tensors["augment.params"]
        self._image_rows = {name: _row_reader(self.stored("image", name)) for name in self.teachers}
        self._text_rows = {name: _row_reader(self.stored("text", name)) for name in self.teachers}

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
        return unpack_strings(self._file.tensors, "keys", 0, self.header.samples)

    @property
    def all_augment_params(self) -> np.ndarray:
        """Recorded augmentations of every sample: float32 (N, A, P)."""
        return self._augment_params

    def augment_params(self, i: int, augmentation: int) -> np.ndarray:
        """Recorded augmentation of sample `i`: float32 (P,)."""
        return self._augment_params[i, augmentation]

    def caption(self, i: int, caption: int) -> str:
        """Synthetic caption `caption` of sample `i`."""
        row = i * self.header.captions + caption
        (text,) = unpack_strings(self._file.tensors, "captions", row, row + 1)
        return text

    def captions(self, i: int) -> tuple[str, ...]:
        """The C synthetic captions of sample `i`."""
        first = i * self.header.captions
        last = first + self.header.captions
        return unpack_strings(self._file.tensors, "captions", first, last)

    def image_embedding(self, teacher: str, i: int, augmentation: int) -> np.ndarray:
        """What `teacher` saw in that augmentation of sample `i`: float32 (D,), of length 1."""
        return self._image_rows[teacher](i, augmentation)

    def text_embedding(self, teacher: str, i: int, row: int) -> np.ndarray:
        """The teacher's embedding of text `row` of sample `i`: float32 (D,), of length 1.

        Row 0 is the first ground-truth caption, row 1+c synthetic caption c.
        """
        return self._text_rows[teacher](i, row)

    def image_embeddings(
        self, teacher: str, samples: slice | np.ndarray, augmentation: int
    ) -> np.ndarray:
        """What `teacher` saw in that augmentation of many samples at once: float32 (n, D)."""
        stored = self.stored("image", teacher)
        return decode_rows(stored.tensors, stored.storage, samples, augmentation)

    def text_embeddings(self, teacher: str, samples: slice | np.ndarray, row: int) -> np.ndarray:
        """The teacher's embeddings of text `row` of many samples at once: float32 (n, D)."""
        stored = self.stored("text", teacher)
        return decode_rows(stored.tensors, stored.storage, samples, row)

    def stored(self, kind: Literal["image", "text"], teacher: str) -> EmbeddingRows:
        """Return all embeddings of a teacher as they are stored."""
        storage = self.teachers[teacher].storage
        tensors = self._file.tensors
        names = {part: f"{kind}.{teacher}.{part}" for part in ("values", "scale")}
        return EmbeddingRows(
            {part: tensors[name] for part, name in names.items() if name in tensors}, storage
        )

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


def _row_reader(stored: EmbeddingRows) -> RowReader:
    return row_reader(stored.tensors, stored.storage)
