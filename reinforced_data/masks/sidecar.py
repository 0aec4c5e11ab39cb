"""The mask sidecar: what a SAM was asked about the pictures of one shard, and what it said.

`00012.tar` -> `00012.masks.safetensors`. Tensors, for N samples, R prompts, T masks:

    keys.bytes, keys.offsets      uint8 (·), int64 (N+1)   sample keys in shard order, utf-8
    digests                       uint8 (N, 8)             of picture and captions
    prompts.offsets               int64 (N+1)              where each sample's prompts begin
    prompts.kind                  uint8 (R,)               0 point, 1 box, 2 box and point
    prompts.points                float32 (R, 3, 2)        fractions of the square, x and y
    prompts.labels                int8 (R, 3)              as the prompt encoder's; -1 for no point
    masks.prompt_offsets          int64 (R+1)              where each prompt's masks begin
    masks.iou                     float32 (T,)             how well each covers the object
    masks.bytes, masks.offsets    uint8 (·), int64 (T+1)   logits, each as `encode_mask` makes them

A single point that a SAM answered has three masks, every other prompt one. A sample without prompts
could not be used, or the truth knows no instance of it. The metadata are the strings of
`MaskHeader`; bytes depend on the content alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np

from zoo.reinforced_data.masks.codec import decode_mask, encode_mask
from zoo.reinforced_data.masks.header import MaskHeader
from zoo.reinforced_data.masks.prompts import PromptRows
from zoo.reinforced_data.masks.teacher import Answer
from zoo.reinforced_data.shards.index import DIGEST_BYTES
from zoo.reinforced_data.sidecars.packed_strings import pack_strings, unpack_strings
from zoo.reinforced_data.sidecars.tensor_file import TensorFile, write_tensors


def mask_sidecar_path(shard: Path, folder: Path | None = None) -> Path:
    """Return where the mask sidecar of a shard is: beside it, or in another folder."""
    return (folder or shard.parent) / f"{shard.name.removesuffix('.tar')}.masks.safetensors"


@dataclass
class MaskRows:
    """The content of a mask sidecar, sample by sample."""

    digests: list[bytes] = field(default_factory=list)
    prompts: list[PromptRows] = field(default_factory=list)
    ious: list[np.ndarray] = field(default_factory=list)
    """float32 (m,) of every prompt."""
    masks: bytearray = field(default_factory=bytearray)
    """Of all prompts, end to end."""
    mask_bytes: list[int] = field(default_factory=list)

    def add(self, digest: bytes, prompts: PromptRows, answers: Sequence[Answer]) -> None:
        """Put the next sample behind the others; ValueError for logits that are not finite."""
        self.digests.append(digest)
        self.prompts.append(prompts)
        for answer in answers:
            self.ious.append(answer.iou)
            for logits in answer.logits:
                content = encode_mask(logits)
                self.masks += content
                self.mask_bytes.append(len(content))

    def add_unusable(self) -> None:
        """Put a sample without prompts behind the others."""
        self.add(bytes(DIGEST_BYTES), PromptRows.empty(0), [])


def write_mask_sidecar(path: Path, header: MaskHeader, keys: Sequence[str], rows: MaskRows) -> None:
    """Write a mask sidecar whole or not at all."""
    assert len(keys) == len(rows.digests) == header.samples
    tensors = {
        "digests": np.frombuffer(b"".join(rows.digests), np.uint8).reshape(-1, DIGEST_BYTES),
        "prompts.offsets": _offsets([len(one.kinds) for one in rows.prompts]),
        "prompts.kind": np.concatenate([one.kinds for one in rows.prompts]),
        "prompts.points": np.concatenate([one.points for one in rows.prompts]),
        "prompts.labels": np.concatenate([one.labels for one in rows.prompts]),
        "masks.prompt_offsets": _offsets(list(map(len, rows.ious))),
        "masks.iou": np.concatenate([np.zeros(0, np.float32), *rows.ious]),
        "masks.bytes": np.frombuffer(rows.masks, np.uint8),
        "masks.offsets": _offsets(rows.mask_bytes),
    }
    write_tensors(path, tensors | pack_strings("keys", keys), header.to_metadata())


def _offsets(lengths: Sequence[int]) -> np.ndarray:
    return np.cumsum([0, *lengths], dtype=np.int64)


class StoredPrompt(NamedTuple):
    """One prompt and its answer, as stored."""

    kind: int
    points: np.ndarray
    """float32 (3, 2)"""
    labels: np.ndarray
    """int8 (3,)"""
    iou: np.ndarray
    """float32 (m,)"""
    masks: tuple[memoryview, ...]
    """m of them, for `decode_mask`."""


class MaskSidecar:
    """A mask sidecar mapped into memory: each method reads the rows that it returns."""

    def __init__(self, path: Path) -> None:
        """Raises FileNotFoundError, or ValueError for a foreign, truncated or altered file."""
        if not path.is_file():
            raise FileNotFoundError(
                f"No mask sidecar at '{path}'; make it with `zoo reinforce masks`."
            )
        self.path = path
        self._file = TensorFile(path)
        self.header = MaskHeader.from_metadata(self._file.metadata, path)
        self._tensors = self._file.tensors
        self._masks = self._tensors["masks.bytes"].data

    def __reduce__(self) -> tuple[Callable[[Path], MaskSidecar], tuple[Path]]:
        return MaskSidecar, (self.path,)  # a worker process maps the file again

    @cached_property
    def keys(self) -> tuple[str, ...]:
        """Sample keys in shard order."""
        return unpack_strings(self._tensors, "keys", 0, self.header.samples)

    @property
    def digests(self) -> np.ndarray:
        """Of picture and captions of each sample, zeros where unknown: uint8 (N, 8)."""
        return self._tensors["digests"]

    @cached_property
    def prompt_counts(self) -> np.ndarray:
        """Prompts of each sample: int64 (N,)."""
        return np.diff(self._tensors["prompts.offsets"])

    def prompt(self, i: int, number: int) -> StoredPrompt:
        """Return prompt `number` of sample `i`."""
        tensors = self._tensors
        row = tensors["prompts.offsets"].item(i) + number
        first, last = tensors["masks.prompt_offsets"][row : row + 2].tolist()
        bounds = tensors["masks.offsets"][first : last + 1].tolist()
        return StoredPrompt(
            tensors["prompts.kind"].item(row),
            tensors["prompts.points"][row],
            tensors["prompts.labels"][row],
            tensors["masks.iou"][first:last],
            tuple(self._masks[a:b] for a, b in pairwise(bounds)),
        )

    def mask(self, content: memoryview, out: np.ndarray) -> None:
        """Write the logits of a stored mask into the float16 array `out` (h, w).

        Raises ValueError, naming the file, when they are damaged.
        """
        try:
            decode_mask(content, out)
        except ValueError as error:
            raise ValueError(
                f"'{self.path}' {error} Delete it and reinforce its shard again."
            ) from error

    def check_shard(self, shard: Path, keys: Sequence[str]) -> None:
        """Raise ValueError unless the sidecar is that of `shard`, with its `keys` in order."""
        size = shard.stat().st_size
        if self.keys != tuple(keys) or self.header.shard_bytes != size:
            raise ValueError(
                f"'{self.path}' was made of {len(self.keys)} samples in {self.header.shard_bytes} "
                f"bytes, but '{shard}' has {len(keys)} in {size} bytes, or other keys: it has "
                "changed; delete the sidecar and reinforce the shard again."
            )

    def verify(self) -> None:
        """Read the whole file; ValueError when a value has changed since it was written."""
        self._file.verify()
