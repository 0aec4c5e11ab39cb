"""One of Apple's shards becomes one sidecar."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Literal

import numpy as np

from zoo.reinforced_data.augmentation.paug import APPLE_POLICY
from zoo.reinforced_data.datacompdr.members import ReinforcedSample, decode_members
from zoo.reinforced_data.datacompdr.source import Find, SampleMembers, find_inside
from zoo.reinforced_data.shards.index import DIGEST_BYTES, ShardIndex
from zoo.reinforced_data.shards.read import group_members, read_member
from zoo.reinforced_data.shards.tar_index import index_tar
from zoo.reinforced_data.sidecars.embedding_storage import EmbeddingRows, Storage
from zoo.reinforced_data.sidecars.header import SidecarHeader, TeacherInfo
from zoo.reinforced_data.sidecars.sidecar import SidecarRows, write_sidecar

CAPTIONER = {"name": "datacompdr import"}
"""What an imported sidecar says of its captioner: Apple's shards do not name theirs."""

_PACKAGES = ("numpy", "torch", "zoo")


@dataclass(frozen=True, kw_only=True)
class ImportSettings:
    """How to read and what to write."""

    teachers: Sequence[TeacherInfo]
    """Whose embeddings lie end to end in a row, see `published_sets`."""
    find: Find = find_inside
    """Where the members lie: `find_inside` or `AppleShards(…).find`."""
    storage: Storage = "int8"
    on_error: Literal["stop", "skip"] = "stop"
    """Unusable content: "stop" ends the run, "skip" keeps the row, marked as not valid."""


@dataclass(frozen=True)
class UnusedSample:
    """A sample that keeps its row in the sidecar but is not valid."""

    shard: Path
    key: str
    reason: str


def import_shard(
    shard: Path,
    target: Path,
    settings: ImportSettings,
    on_samples: Callable[[int, int], None],
) -> list[UnusedSample]:
    """Write the sidecar `target` of one image shard; returns the samples that are not valid.

    `on_samples(samples, samples of the shard)` is called after each and for the rest at the end.
    Raises ValueError as `import_shards`.
    """
    index = ShardIndex(shard, settings.on_error)
    table, reasons = _Table(index, settings), dict(index.problems)
    left = len(index)
    for i, found in settings.find(shard, _rows_by_name(index)):
        try:
            table.put(i, found)
        except ValueError as error:
            if settings.on_error == "stop":
                raise
            reasons.setdefault(i, str(error))
        left -= 1
        on_samples(1, len(index))
    for i in np.flatnonzero(~table.valid).tolist():
        reasons.setdefault(i, f"{index.describe(i)} has no reinforcement among Apple's members.")
    if not table.valid.any():
        raise ValueError(f"No sample of shard {shard} is usable; the first: {reasons[0]}")
    rows = table.rows()
    write_sidecar(target, _header(shard, rows, settings), rows)
    on_samples(left, len(index))
    return [UnusedSample(shard, index.keys[i], reasons[i]) for i in sorted(reasons)]


class _Table:
    """The rows of one sidecar, filled in any order; the first sample decides their sizes."""

    def __init__(self, index: ShardIndex, settings: ImportSettings) -> None:
        self._index, self._teachers = index, settings.teachers
        self._storage: Storage = settings.storage
        self.valid = np.zeros(len(index), bool)
        self._filled: SidecarRows | None = None

    def put(self, i: int, found: SampleMembers) -> None:
        """Decode sample `i`; ValueError when it has no usable picture, caption or members."""
        sample = self._index.read(i)
        name = f"{self._index.describe(i)}, reinforced in {found.path},"
        if not sample.captions:
            raise ValueError(f"{name} has no caption; add one or leave the sample out.")
        decoded = decode_members(name, found.read(), sample.image, self._teachers)
        if self._filled is None:
            self._filled = self._empty(decoded)
        self._check_counts(name, decoded, self._filled)
        self._fill(self._filled, i, decoded)
        self.valid[i] = True

    def rows(self) -> SidecarRows:
        """Return all rows, of which at least one was put."""
        assert self._filled is not None
        for i in range(len(self._index)):
            if i not in self._index.problems:
                self._filled.digests[i] = np.frombuffer(self._index.digest(i), np.uint8)
        return self._filled

    def _empty(self, sample: ReinforcedSample) -> SidecarRows:
        n, (a, c) = len(self._index), sample.counts
        return SidecarRows(
            keys=self._index.keys,
            valid=self.valid,
            digests=np.zeros((n, DIGEST_BYTES), np.uint8),
            augment_params=np.zeros((n, a, len(APPLE_POLICY.columns)), np.float32),
            captions=[("",) * c for _ in range(n)],
            image_embeddings=self._zeros(n, a),
            text_embeddings=self._zeros(n, 1 + c),
        )

    def _zeros(self, samples: int, rows: int) -> dict[str, EmbeddingRows]:
        return {
            teacher.name: EmbeddingRows.zeros((samples, rows, teacher.embed_dim), self._storage)
            for teacher in self._teachers
        }

    @staticmethod
    def _check_counts(name: str, sample: ReinforcedSample, rows: SidecarRows) -> None:
        expected = rows.augment_params.shape[1], len(rows.captions[0])
        if sample.counts != expected:
            raise ValueError(
                f"{name} has {sample.counts[0]} augmentations and {sample.counts[1]} captions, but "
                f"the shard's first has {expected[0]} and {expected[1]}; expected all alike."
            )

    @staticmethod
    def _fill(rows: SidecarRows, i: int, sample: ReinforcedSample) -> None:
        rows.augment_params[i] = sample.augment_params
        rows.captions[i] = sample.captions
        for stored, given in (
            (rows.image_embeddings, sample.image_embeddings),
            (rows.text_embeddings, sample.text_embeddings),
        ):
            for teacher, embeddings in given.items():
                stored[teacher].put([i], embeddings[None])


def _rows_by_name(index: ShardIndex) -> dict[str, int]:
    """Row by every name that Apple's shards may know the sample by: its key or its `uid`.

    img2dataset numbers its samples and keeps DataComp's uid in `KEY.json`.
    """
    groups, _ = group_members(index.path, index_tar(index.path))
    uids: dict[str, int] = {}
    with index.path.open("rb", buffering=0) as file:
        for i, group in enumerate(groups.values()):
            if "json" in group:
                uid = _uid(read_member(index.path, file, group["json"]))
                if uid is not None:
                    uids[uid] = i
    return uids | {key: i for i, key in enumerate(index.keys)}


def _uid(data: bytes) -> str | None:
    try:
        content = json.loads(data)
    except (ValueError, RecursionError):
        return None
    uid = content.get("uid") if isinstance(content, dict) else None
    return uid if isinstance(uid, str) else None


def _header(shard: Path, rows: SidecarRows, settings: ImportSettings) -> SidecarHeader:
    return SidecarHeader(
        shard=shard.name,
        shard_bytes=shard.stat().st_size,
        samples=len(rows.keys),
        augmentation=APPLE_POLICY,
        augmentations=rows.augment_params.shape[1],
        captions=len(rows.captions[0]),
        captioner=CAPTIONER,
        teachers=stored_teachers(settings),
        seed=0,
        packages={name: version(name) for name in _PACKAGES},
    )


def stored_teachers(settings: ImportSettings) -> tuple[TeacherInfo, ...]:
    """Return the teachers as the header of an imported sidecar lists them."""
    return tuple(replace(teacher, storage=settings.storage) for teacher in settings.teachers)
