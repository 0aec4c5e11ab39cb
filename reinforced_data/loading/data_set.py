"""The shards of one data set: counted at the start, opened when their samples are wanted."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from zoo.reinforced_data.curation.subset import Subset
from zoo.reinforced_data.datacompdr.published_sets import teachers_of
from zoo.reinforced_data.datacompdr.shard import DataCompDRShard
from zoo.reinforced_data.loading.plan import WINDOW, SamplePlan
from zoo.reinforced_data.loading.repeats import Repeats
from zoo.reinforced_data.loading.source import ReinforcementSource
from zoo.reinforced_data.shards.index import ShardIndex
from zoo.reinforced_data.shards.remote import download, find_locations, is_url, shard_name
from zoo.reinforced_data.sidecars.header import TeacherInfo
from zoo.reinforced_data.sidecars.sidecar import Sidecar, sidecar_path


@dataclass(frozen=True, kw_only=True)
class DataSource:
    """Where the samples of a data set are, and how many of a run's samples it gives."""

    shards: str | Path | Sequence[str | Path]
    """A folder, file, glob, brace pattern or URL of shards, or several of these."""
    weight: float = 1.0
    """Share of the samples, relative to the other data sets."""
    subset: Path | None = None
    """What to take of the shards, a file of `zoo data filter` and the like; None takes all."""
    sidecars: str | Path | None = None
    """Folder or URL that holds the sidecars; None looks beside the shards."""
    published_set: str | None = None
    """Read Apple's own members in the shards instead, of this set: "datacompdr", "dfndr", or a JSON
    file that lists the teachers."""

    def __post_init__(self) -> None:
        if self.sidecars is not None and self.published_set is not None:
            raise ValueError(
                f"Both sidecars ({self.sidecars}) and published_set ({self.published_set}) are "
                "given; reinforcement is read from one of them."
            )


@dataclass(frozen=True)
class OpenShard:
    """A shard that samples are read from."""

    index: ShardIndex
    source: ReinforcementSource | None
    """None in plain training."""
    rows: np.ndarray
    """Where the usable samples stand in the shard: int64 (n,)."""


class DataSet:
    """The usable samples of a `DataSource`."""

    def __init__(
        self, source: DataSource, *, reinforced: bool, cache_folder: Path | None = None
    ) -> None:
        """Count the samples: from the sidecars' headers when reinforced, else by an index pass.

        Shards and sidecars at URLs are copied to `cache_folder` when they are first opened.
        Raises ValueError for shards, sidecars or a subset that are damaged or do not fit together,
        and FileNotFoundError for those that are not there.
        """
        self._source, self._cache_folder = source, cache_folder
        # In an order that does not depend on that of the specification.
        self._shards = sorted(map(str, find_locations(source.shards)))
        self._subset = Subset.open(source.subset) if source.subset else None
        self.first: ReinforcementSource | None = None
        """The reinforcement of the first shard; the others hold the same kinds of data."""
        if reinforced:
            self.first = self._open_source(0)
        self.sizes = np.array([self._count(shard) for shard in range(len(self._shards))], np.int64)
        """Usable samples of each shard: int64 (shards,)."""
        self._open: OrderedDict[int, OpenShard] = OrderedDict()

    @property
    def teachers(self) -> Mapping[str, TeacherInfo]:
        """The teachers by name; none in plain training."""
        return self.first.teachers if self.first else {}

    def plan(self, *key: str | int) -> SamplePlan:
        """Return the order of the samples; `key` names it. Raises ValueError without any."""
        if not self.sizes.sum():
            raise ValueError(f"There is no usable sample in {self._source.shards}; add some.")
        repeats = None
        if self._subset:
            repeats = Repeats(self._weights, len(self._shards), *key)
        return SamplePlan(self.sizes, *key, repeats=repeats)

    def fingerprint(self) -> str:
        """Return a text that changes with names and sizes of the shards, weight or subset."""
        names = [shard_name(shard) for shard in self._shards]
        digest = hashlib.blake2b("\0".join(names).encode(), digest_size=8)
        digest.update(self.sizes.tobytes())
        digest.update(str(float(self._source.weight)).encode())
        if self._subset:
            digest.update(self._subset.metadata["data_sha256"].encode())
        return digest.hexdigest()

    def open(self, shard: int) -> OpenShard:
        """Return a shard; those of a window stay open.

        Raises ValueError for a damaged shard, or for one that is not the sidecar's or the subset's.
        """
        if shard in self._open:
            self._open.move_to_end(shard)
            return self._open[shard]
        if len(self._open) == WINDOW:
            self._open.popitem(last=False)
        self._open[shard] = self._read_shard(shard)
        return self._open[shard]

    def _read_shard(self, shard: int) -> OpenShard:
        path = self._local(self._shards[shard])
        if self.first is None:
            index, source = ShardIndex(path), None
            usable = np.ones(len(index), bool)
        else:
            index, source = ShardIndex(path, on_error="skip"), self._open_source(shard)
            source.check_shard(path, index.keys)
            usable = source.valid
        rows = np.flatnonzero(usable)
        if self._subset:
            rows, _ = self._subset.rows(shard_name(self._shards[shard]), index.keys)
            self._check_usable(rows[~usable[rows]], index)
        if len(rows) != self.sizes[shard]:
            raise ValueError(
                f"Shard {path} has {len(rows)} usable samples but had {self.sizes[shard]} when "
                "training began: it has changed; begin again."
            )
        return OpenShard(index, source, rows)

    def _check_usable(self, unusable: np.ndarray, index: ShardIndex) -> None:
        if len(unusable):
            raise ValueError(
                f"The subset '{self._source.subset}' keeps a sample for which nothing is stored: "
                f"{index.describe(int(unusable[0]))}; make the subset again."
            )

    def _count(self, shard: int) -> int:
        source = self._open_source(shard) if self.first else None
        if source and self.first:
            _check_alike(self.first, source)
        if self._subset:
            return len(self._weights(shard))
        if source:
            return int(source.valid.sum())
        return len(ShardIndex(self._local(self._shards[shard])))

    def _weights(self, shard: int) -> np.ndarray:
        assert self._subset is not None
        return self._subset.weights(shard_name(self._shards[shard]))

    def _open_source(self, shard: int) -> ReinforcementSource:
        if self._source.published_set is None:
            return Sidecar.open(self._local(self._sidecar(shard)))
        teachers = teachers_of(self._source.published_set)
        path = self._local(self._shards[shard])
        return DataCompDRShard(path, teachers=teachers, on_error="skip")

    def _sidecar(self, shard: int) -> str:
        """Path or URL of the sidecar of a shard."""
        location = self._shards[shard]
        folder = self._source.sidecars or location.rpartition("/")[0] or "."
        return f"{folder}/{sidecar_path(shard_name(location)).name}"

    def _local(self, location: str) -> Path:
        if not is_url(location):
            return Path(location)
        if self._cache_folder is None:
            raise ValueError(f"{location!r} is a URL; name a cache folder for copies of the data.")
        return download(location, self._cache_folder)


def _check_alike(first: ReinforcementSource, other: ReinforcementSource) -> None:
    """Raise unless both hold the same teachers, kind of augmentations and captions."""
    for name, ours, theirs in (
        ("teachers", first.teachers, other.teachers),
        ("augmentation", first.header.augmentation, other.header.augmentation),
        ("captions", first.header.captions, other.header.captions),
    ):
        if ours != theirs:
            raise ValueError(
                f"{name} is {ours} in '{first.path}' but {theirs} in '{other.path}'; "
                "reinforce all shards alike."
            )
