"""A subset: which samples of which shards to train on, and how often. Shards stay untouched.

One safetensors file, `NAME.subset.safetensors`, for S shards and K kept samples:

    shards.bytes, shards.offsets   uint8 (·), int64 (S+1)   file names of the shards, utf-8
    starts                         int64 (S+1)              shard s keeps samples starts[s:s+1]
    keys.bytes, keys.offsets       uint8 (·), int64 (K+1)   their keys, in shard order
    weights                        float32 (K,)             how often each is seen an epoch

The metadata say how it was made. A shard that was looked at and keeps nothing is listed too, so
that a shard which is not listed is noticed as foreign.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from zoo.reinforced_data.sidecars.packed_strings import pack_strings, unpack_strings
from zoo.reinforced_data.sidecars.tensor_file import TensorFile, write_tensors

SUFFIX = ".subset.safetensors"
FORMAT = "zoo-subset"
FORMAT_VERSION = "1"


class Subset:
    """The kept samples of some shards, read from a file of `write_subset`."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._tensors, self.metadata = _read(self.path)
        counts = len(self._tensors["starts"]) - 1
        self.shards = unpack_strings(self._tensors, "shards", 0, counts)
        """File names of the shards that it was made from."""
        self._places = {name: i for i, name in enumerate(self.shards)}

    @classmethod
    def open(cls, path: str | Path) -> Subset:
        """Read and check a subset.

        Raises FileNotFoundError, or ValueError for a foreign, truncated or altered file.
        """
        return cls(path)

    def __reduce__(self) -> tuple[Callable[[Path], Subset], tuple[Path]]:
        return Subset.open, (self.path,)  # a worker process maps the file again

    def __len__(self) -> int:
        """Number of kept samples, over all shards."""
        return len(self._tensors["weights"])

    def keys(self, shard_name: str) -> tuple[str, ...]:
        """Keys of the kept samples of a shard; ValueError for a shard that is not listed."""
        first, last = self._range(shard_name)
        return unpack_strings(self._tensors, "keys", first, last)

    def weights(self, shard_name: str) -> np.ndarray:
        """Weights of the kept samples of a shard: float32 (K,), in the order of `keys`."""
        first, last = self._range(shard_name)
        return self._tensors["weights"][first:last]

    def rows(self, shard_name: str, keys: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Return where the kept samples of a shard stand among all its `keys`, in shard order.

        Returns int64 (K,) rows and float32 (K,) weights: 1 is once an epoch, 2.5 twice or three
        times, 0.3 in three epochs of ten. Raises ValueError, naming shard and key, for a shard
        that the subset does not list and for a listed key that is not among `keys`.
        """
        first, last = self._range(shard_name)
        row_of = {key: row for row, key in enumerate(keys)}
        kept = unpack_strings(self._tensors, "keys", first, last)
        for key in kept:
            if key not in row_of:
                raise ValueError(
                    f"The subset '{self.path}' keeps sample {key!r} of shard '{shard_name}', "
                    "which has no such sample: the shard has changed; make the subset again."
                )
        rows = np.array([row_of[key] for key in kept], np.int64)
        order = np.argsort(rows, kind="stable")
        return rows[order], self._tensors["weights"][first:last][order]

    def _range(self, shard_name: str) -> tuple[int, int]:
        if shard_name not in self._places:
            raise ValueError(
                f"The subset '{self.path}' was made without the shard '{shard_name}'; "
                f"it lists {len(self.shards)}, beginning with '{self.shards[0]}'. "
                "Make it again from all shards, or leave that one out."
            )
        first, last = self._tensors["starts"][self._places[shard_name] :][:2].tolist()
        return first, last


def write_subset(
    path: Path,
    kept: Mapping[str, tuple[Sequence[str], np.ndarray]],
    metadata: Mapping[str, str],
) -> None:
    """Write a subset whole or not at all; the same content gives the same bytes.

    `kept` maps the file name of every shard that was looked at to the keys of its kept samples
    and their weights, float32, finite and positive; `metadata` says how they were chosen.
    Raises ValueError when nothing is kept, for a weight that is not positive, or for a path
    without the suffix.
    """
    check_subset_path(path)
    shards = sorted(kept)
    counts = [len(kept[shard][0]) for shard in shards]
    if sum(counts) == 0:
        raise ValueError(f"Nothing is left to keep, so '{path}' was not written; keep more.")
    weights = np.concatenate([np.asarray(kept[shard][1], np.float32) for shard in shards])
    assert len(weights) == sum(counts)
    if not (np.isfinite(weights).all() and weights.min() > 0):
        raise ValueError(f"A weight of '{path}' is {weights.min()}; expected all above 0.")
    tensors = {"weights": weights, "starts": np.cumsum([0, *counts], dtype=np.int64)}
    tensors |= pack_strings("shards", shards)
    tensors |= pack_strings("keys", [key for shard in shards for key in kept[shard][0]])
    path.parent.mkdir(parents=True, exist_ok=True)
    header = {"format": FORMAT, "format_version": FORMAT_VERSION}
    write_tensors(path, tensors, dict(metadata) | header)


def check_subset_path(path: Path) -> None:
    """Raise ValueError unless `path` has the suffix of a subset."""
    if not path.name.endswith(SUFFIX):
        raise ValueError(f"'{path}' is not the name of a subset; let it end in {SUFFIX}.")


def _read(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    if not path.is_file():
        raise FileNotFoundError(f"There is no subset '{path}'; make it, e.g. by `zoo data filter`.")
    try:
        file = TensorFile(path)
        file.verify()
    except ValueError as error:
        raise ValueError(
            f"'{path}' is not a subset of zoo, or it is damaged; make it again."
        ) from error
    found = file.metadata.get("format"), file.metadata.get("format_version")
    if found != (FORMAT, FORMAT_VERSION):
        raise ValueError(
            f"'{path}' has format {found[0]!r} version {found[1]!r}, but this zoo reads subsets of "
            f"format {FORMAT!r} version {FORMAT_VERSION!r}; make it again."
        )
    return file.tensors, file.metadata
