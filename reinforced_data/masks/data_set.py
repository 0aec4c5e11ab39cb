"""Shards with their mask sidecars: counted at the start, opened when their samples are wanted."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from zoo.reinforced_data.loading.plan import WINDOW, SamplePlan
from zoo.reinforced_data.masks.sidecar import MaskSidecar, mask_sidecar_path
from zoo.reinforced_data.masks.teacher import MaskTeacherInfo
from zoo.reinforced_data.shards.find import find_shards
from zoo.reinforced_data.shards.index import ShardIndex


@dataclass(frozen=True)
class OpenMaskShard:
    """A shard that samples are read from."""

    index: ShardIndex
    sidecar: MaskSidecar
    rows: np.ndarray
    """Where the samples with prompts stand in the shard: int64 (n,)."""


class MaskDataSet:
    """The samples of some shards of which there are prompts."""

    def __init__(
        self, shards: str | Path | Sequence[str | Path], sidecars: Path | None = None
    ) -> None:
        """Count the samples in the sidecars, which are beside the shards or in another folder.

        Raises FileNotFoundError for a sidecar that is not there, and ValueError for damaged ones,
        for some of another teacher than the others and when nothing matches `shards`.
        """
        self._shards = find_shards(shards)
        self._sidecars = [mask_sidecar_path(shard, sidecars) for shard in self._shards]
        self.teacher = MaskSidecar(self._sidecars[0]).header.teacher
        self.sizes = np.array([self._count(path) for path in self._sidecars], np.int64)
        """Samples of each shard: int64 (shards,)."""
        self._open: OrderedDict[int, OpenMaskShard] = OrderedDict()

    def plan(self, seed: int) -> SamplePlan:
        """Return the order of the samples. Raises ValueError without any."""
        if not self.sizes.sum():
            raise ValueError(
                f"The mask sidecars beside '{self._shards[0]}' hold no prompts; the shards need "
                "pictures with instance masks."
            )
        return SamplePlan(self.sizes, seed, "masks")

    def fingerprint(self) -> str:
        """Return a text that changes with names and sizes of the shards, or the teacher."""
        names = [shard.name for shard in self._shards]
        digest = hashlib.blake2b("\0".join(names).encode(), digest_size=8)
        digest.update(self.sizes.tobytes())
        digest.update(repr(asdict(self.teacher)).encode())
        return digest.hexdigest()

    def open(self, shard: int) -> OpenMaskShard:
        """Return a shard; those of a window stay open.

        Raises ValueError for a damaged shard, or for one that is not the sidecar's.
        """
        if shard in self._open:
            self._open.move_to_end(shard)
            return self._open[shard]
        if len(self._open) == WINDOW:
            self._open.popitem(last=False)
        sidecar, path = MaskSidecar(self._sidecars[shard]), self._shards[shard]
        index = ShardIndex(path, on_error="skip")
        sidecar.check_shard(path, index.keys)
        self._open[shard] = OpenMaskShard(index, sidecar, np.flatnonzero(sidecar.prompt_counts))
        return self._open[shard]

    def _count(self, path: Path) -> int:
        sidecar = MaskSidecar(path)
        _check_alike(self.teacher, sidecar.header.teacher, path)
        return int((sidecar.prompt_counts > 0).sum())


def _check_alike(first: MaskTeacherInfo, other: MaskTeacherInfo, path: Path) -> None:
    if first != other:
        raise ValueError(
            f"'{path}' has the teacher {other}, other sidecars {first}; reinforce all shards alike."
        )
