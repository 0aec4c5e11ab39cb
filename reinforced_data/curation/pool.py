"""The samples that a curation looks at, and what a teacher's stored embeddings say of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from zoo.reinforced_data.curation.subset import Subset
from zoo.reinforced_data.shards.find import find_shards
from zoo.reinforced_data.sidecars.header import TeacherInfo
from zoo.reinforced_data.sidecars.sidecar import Sidecar, sidecar_path

SIDECAR_SUFFIX = sidecar_path(".tar").name
GROUND_TRUTH = 0
"""Row of the ground-truth caption among a sample's texts."""
_VALUES_AT_ONCE = 1 << 22  # decoded numbers in memory at a time: 16 MB

OnProgress = Callable[[str, int, int], None]
"""Called with what is being done, how many samples of it are done, and of how many."""


def no_progress(stage: str, done: int, total: int) -> None:
    """Say nothing."""


def find_sidecars(spec: str | Path) -> list[Path]:
    """Return the sidecars that `spec` names, sorted: a folder, a glob, a brace pattern or a file.

    Patterns name shards or sidecars; the shards themselves need not be there. Raises ValueError
    where there is no sidecar, and for a folder in which a shard has none.
    """
    spec = str(spec)
    if Path(spec).is_dir():
        return _sidecars_of_folder(Path(spec))
    pattern = spec
    if spec.endswith(".tar"):
        pattern = spec.removesuffix(".tar") + SIDECAR_SUFFIX
    try:
        return find_shards(pattern)
    except ValueError as error:
        raise ValueError(
            f"There is no sidecar {pattern!r}; make it with `zoo reinforce`."
        ) from error


def _sidecars_of_folder(folder: Path) -> list[Path]:
    found = sorted(folder.glob(f"*{SIDECAR_SUFFIX}"))
    missing = sorted({sidecar_path(shard) for shard in folder.glob("*.tar")} - set(found))
    if missing or not found:
        what = f"'{missing[0]}'" if missing else f"*{SIDECAR_SUFFIX} in '{folder}'"
        raise ValueError(f"There is no sidecar {what}; make it with `zoo reinforce`.")
    return found


@dataclass(frozen=True, kw_only=True)
class PoolShard:
    """The samples of one shard that a curation looks at."""

    name: str
    """File name of the shard."""
    sidecar: Path
    rows: np.ndarray
    """int64 (n,), ascending: rows of the sidecar"""
    weights: np.ndarray
    """float32 (n,): how often an epoch, 1 unless a subset said otherwise"""
    teachers: Mapping[str, TeacherInfo]


@dataclass(frozen=True)
class Pool:
    """Samples of several shards, numbered through; sidecars are opened when they are read."""

    shards: tuple[PoolShard, ...]

    @classmethod
    def open(cls, sidecars: Sequence[Path], *, subset: Path | None = None) -> Pool:
        """Take the valid samples of some sidecars, those of `subset` only where one is given.

        Raises ValueError for two shards of one name, for what is not a sidecar, when the subset
        does not fit, and when no sample is left.
        """
        chosen = None if subset is None else Subset.open(subset)
        shards = tuple(_pool_shard(Sidecar.open(path), chosen) for path in sidecars)
        _check_names(shards)
        pool = cls(shards)
        if len(pool) == 0:
            which = f"of '{subset}' " if subset else ""
            raise ValueError(f"No sample {which}in {len(shards)} sidecars is valid.")
        return pool

    def __len__(self) -> int:
        return int(self.starts[-1])

    @cached_property
    def starts(self) -> np.ndarray:
        """int64 (S+1,): number of the first sample of each shard, then the size."""
        return np.cumsum([0, *(len(shard.rows) for shard in self.shards)], dtype=np.int64)

    def place(self, number: int) -> tuple[PoolShard, int]:
        """Return the shard and the row of a sample."""
        shard = int(np.searchsorted(self.starts, number, side="right")) - 1
        return self.shards[shard], int(self.shards[shard].rows[number - self.starts[shard]])

    def keep(
        self, numbers: np.ndarray, factors: np.ndarray | None = None
    ) -> dict[str, tuple[list[str], np.ndarray]]:
        """Return the samples `numbers` as `write_subset` takes them, weights times `factors`."""
        kept = np.zeros(len(self), np.float32)
        kept[numbers] = 1 if factors is None else factors
        result = {}
        for shard, start in zip(self.shards, self.starts, strict=False):
            factor = kept[start : start + len(shard.rows)]
            chosen = np.flatnonzero(factor)
            keys = Sidecar.open(shard.sidecar).keys
            weights = (shard.weights * factor)[chosen]
            result[shard.name] = ([keys[row] for row in shard.rows[chosen]], weights)
        return result

    def teacher(self, name: str) -> TeacherInfo:
        """Return what the sidecars say of a teacher.

        Raises ValueError, listing the teachers there are, when a sidecar lacks it or two sidecars
        hold different weights of it.
        """
        first = _teacher(self.shards[0], name)
        for shard in self.shards[1:]:
            other = _teacher(shard, name)
            if (other.pretrained, other.embed_dim) != (first.pretrained, first.embed_dim):
                raise ValueError(
                    f"Teacher '{name}' is {other.pretrained!r} in '{shard.sidecar}' but "
                    f"{first.pretrained!r} in '{self.shards[0].sidecar}': their embeddings cannot "
                    "be compared; reinforce one of them again."
                )
        return first

    def image_vectors(self, teacher: str) -> Iterator[np.ndarray]:
        """Yield float32 (n, D), rows of length 1, for all samples in order, a part at a time.

        A sample's vector is the normalised mean over its augmentations: the embeddings are of
        random crops, and the mean of them is nearer to the picture's own than any single one.
        """
        for sidecar, rows in self._parts(teacher):
            count = sidecar.header.augmentations
            views = (sidecar.image_embeddings(teacher, rows, a) for a in range(count))
            mean = next(views)
            for view in views:
                mean += view
            yield unit_length(mean)

    def text_vectors(self, teacher: str, row: int = GROUND_TRUTH) -> Iterator[np.ndarray]:
        """Yield the embeddings of text `row`, in parts as those of `image_vectors`."""
        for sidecar, rows in self._parts(teacher):
            yield unit_length(sidecar.text_embeddings(teacher, rows, row))

    def _parts(self, teacher: str) -> Iterator[tuple[Sidecar, slice | np.ndarray]]:
        for shard in self.shards:
            sidecar = Sidecar.open(shard.sidecar)
            step = max(1, _VALUES_AT_ONCE // _teacher(shard, teacher).embed_dim)
            for start in range(0, len(shard.rows), step):
                yield sidecar, _as_slice(shard.rows[start : start + step])


def _pool_shard(sidecar: Sidecar, subset: Subset | None) -> PoolShard:
    name = sidecar.header.shard
    if subset is None:
        rows, weights = np.arange(len(sidecar.valid)), np.ones(len(sidecar.valid), np.float32)
    else:
        rows, weights = subset.rows(name, sidecar.keys)
    valid = sidecar.valid[rows]
    return PoolShard(
        name=name,
        sidecar=sidecar.path,
        rows=rows[valid],
        weights=weights[valid],
        teachers=sidecar.teachers,
    )


def _check_names(shards: Sequence[PoolShard]) -> None:
    first: dict[str, PoolShard] = {}
    for shard in shards:
        other = first.setdefault(shard.name, shard)
        if other is not shard:
            raise ValueError(
                f"'{other.sidecar}' and '{shard.sidecar}' are both of a shard '{shard.name}', "
                "and a subset tells shards apart by their names; rename one."
            )


def _teacher(shard: PoolShard, name: str) -> TeacherInfo:
    if name not in shard.teachers:
        known = ", ".join(shard.teachers) or "none"
        raise ValueError(f"'{shard.sidecar}' has no teacher '{name}'; it has {known}.")
    return shard.teachers[name]


def _as_slice(rows: np.ndarray) -> slice | np.ndarray:
    """A slice where `rows` are consecutive, which is read without a copy."""
    first, last = rows.item(0), rows.item(-1) + 1
    return slice(first, last) if last - first == len(rows) else rows


def unit_length(vectors: np.ndarray) -> np.ndarray:
    """Bring float32 (n, D) vectors to length 1, in place; zeros stay zeros."""
    lengths = np.sqrt(np.einsum("nd,nd->n", vectors, vectors))
    vectors /= np.maximum(lengths, np.finfo(np.float32).tiny)[:, None]
    return vectors
