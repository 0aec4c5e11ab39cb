"""How embeddings are stored: int8 with one scale a row, or fp16, bf16, fp32 as they are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch

Storage = Literal["int8", "fp16", "bf16", "fp32"]
STORAGES: tuple[Storage, ...] = get_args(Storage)

RowReader = Callable[[int, int], np.ndarray]
"""(sample, row) -> float32 (D,)."""


@dataclass(frozen=True)
class EmbeddingRows:
    """R embeddings of D numbers of each of N samples, in the form in which they are stored.

    Filled batch by batch, so that a shard never lies in memory as float32.
    """

    tensors: Mapping[str, np.ndarray]
    """What `encode_embeddings` makes: `values` (N, R, D) and, for int8, `scale` (N, R)."""
    storage: Storage

    @classmethod
    def zeros(cls, shape: tuple[int, int, int], storage: Storage) -> EmbeddingRows:
        """Return rows of zeros; `shape` is (N, R, D)."""
        samples, *of_a_sample = shape
        like = encode_embeddings(np.zeros((0, *of_a_sample), np.float32), storage)
        tensors = {
            part: np.zeros((samples, *none.shape[1:]), none.dtype) for part, none in like.items()
        }
        return cls(tensors, storage)

    def put(self, samples: slice | Sequence[int], embeddings: np.ndarray) -> None:
        """Store float32 `embeddings` (n, R, D) of some samples; ValueError when not finite."""
        if not np.isfinite(embeddings).all():
            raise ValueError(
                "Embeddings are not finite; the teacher's weights or its numeric type are at fault."
            )
        for part, encoded in encode_embeddings(embeddings, self.storage).items():
            self.tensors[part][samples] = encoded


def encode_embeddings(rows: np.ndarray, storage: Storage) -> dict[str, np.ndarray]:
    """Return float32 `rows` (N, R, D) as tensors `values` (N, R, D) and, for int8, `scale` (N, R).

    int8: scale = max|row| / 127, so that a value is off by half a scale at most.
    """
    if storage == "int8":
        return _quantise(rows)
    if storage == "bf16":
        bits = torch.from_numpy(np.ascontiguousarray(rows)).bfloat16().view(torch.int16)
        return {"values": bits.numpy().view(np.uint16)}
    return {"values": rows.astype(np.float16 if storage == "fp16" else np.float32)}


def row_reader(tensors: Mapping[str, np.ndarray], storage: Storage) -> RowReader:
    """Return a function that decodes one row of what `encode_embeddings` made, reading only it."""
    values = tensors["values"]
    if storage == "int8":
        return _int8_reader(values, tensors["scale"])
    if storage == "bf16":
        return lambda i, row: (values[i, row].astype(np.uint32) << 16).view(np.float32)
    return lambda i, row: values[i, row].astype(np.float32)


def decode_rows(
    tensors: Mapping[str, np.ndarray], storage: Storage, samples: slice | np.ndarray, row: int
) -> np.ndarray:
    """Decode `row` of many samples of what `encode_embeddings` made: float32 (n, D)."""
    values = tensors["values"][samples, row]
    if storage == "bf16":
        return (values.astype(np.uint32) << 16).view(np.float32)
    decoded = values.astype(np.float32)
    if storage == "int8":
        decoded *= tensors["scale"][samples, row, None]
    return decoded


def _quantise(rows: np.ndarray) -> dict[str, np.ndarray]:
    # The scale that readers will see is the float16 one: divide by that, not by the exact one.
    scale = (np.abs(rows).max(axis=-1) / 127).astype(np.float16)
    divisor = np.where(scale > 0, scale, 1).astype(np.float32)[..., None]
    values = np.rint(rows / divisor).clip(-127, 127).astype(np.int8)
    return {"values": values, "scale": scale}


def _int8_reader(values: np.ndarray, scale: np.ndarray) -> RowReader:
    def read(i: int, row: int) -> np.ndarray:
        decoded = values[i, row].astype(np.float32)
        decoded *= scale.item(i, row)
        return decoded

    return read
