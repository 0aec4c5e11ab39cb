"""`zoo data stats`: sizes, caption lengths and similarities, gathered shard by shard."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from zoo.reinforced_data.inspection.distributions import LengthCounts, SimilarityHistogram
from zoo.reinforced_data.shards.index import ShardIndex
from zoo.reinforced_data.sidecars.sidecar import Sidecar, sidecar_path
from zoo.reinforced_data.sidecars.tensor_file import TensorFile

_SAMPLES_AT_ONCE = 512
_PARTS = {
    "keys": "keys",
    "captions": "captions",
    "augment": "augmentation parameters",
    "image": "image embeddings",
    "text": "text embeddings",
}


@dataclass
class DataStatistics:
    """What a set of shards and sidecars holds; its size does not grow with theirs."""

    shards: int = 0
    sidecars: int = 0
    samples: int = 0
    reinforced: int = 0
    """Samples that are valid in a sidecar."""
    bytes: Counter[str] = field(default_factory=Counter)
    """Of shards, of sidecars, and of each part of the sidecars."""
    captions: dict[str, LengthCounts] = field(default_factory=dict)
    """Lengths by "ground truth" and "synthetic"."""
    similarity: dict[str, dict[str, SimilarityHistogram]] = field(default_factory=dict)
    """Cosines of all views to a kind of caption, by teacher and kind."""

    def add_shard(self, shard: Path) -> None:
        """Count a shard and the sidecar beside it.

        Unusable samples count as samples and are passed over. Raises ValueError for a damaged shard
        or sidecar, or one that is not of its shard.
        """
        index = ShardIndex(shard, on_error="skip")
        self.shards += 1
        self.samples += len(index)
        self.bytes["shards"] += shard.stat().st_size
        for i in range(len(index)):
            if i not in index.problems:
                self._add_captions("ground truth", index.captions(i))
        path = sidecar_path(shard)
        if path.exists():
            sidecar = Sidecar.open(path)
            sidecar.check_shard(shard, index.keys)
            self._add_sidecar(sidecar)

    def to_json(self) -> dict[str, Any]:
        """Return everything as plain JSON values."""
        return {
            "shards": self.shards,
            "sidecars": self.sidecars,
            "samples": self.samples,
            "reinforced": self.reinforced,
            "bytes": dict(self.bytes),
            "captions": {kind: lengths.to_json() for kind, lengths in self.captions.items()},
            "similarity": {
                teacher: {kind: histogram.to_json() for kind, histogram in kinds.items()}
                for teacher, kinds in self.similarity.items()
            },
        }

    def _add_captions(self, kind: str, captions: Iterable[str]) -> None:
        lengths = self.captions.setdefault(kind, LengthCounts())
        for caption in captions:
            lengths.add(caption)

    def _add_sidecar(self, sidecar: Sidecar) -> None:
        self.sidecars += 1
        self.reinforced += int(sidecar.valid.sum())
        self.bytes["sidecars"] += sidecar.path.stat().st_size
        for name, tensor in TensorFile(sidecar.path).tensors.items():
            self.bytes[_PARTS.get(name.partition(".")[0], "flags and digests")] += tensor.nbytes
        for i in np.flatnonzero(sidecar.valid):
            self._add_captions("synthetic", sidecar.captions(int(i)))
        for teacher in sidecar.teachers:
            for cosines in _cosines(sidecar, teacher):
                kinds = self.similarity.setdefault(teacher, {})
                for kind, part in (("ground truth", cosines[0]), ("synthetic", cosines[1:])):
                    if part.size:
                        kinds.setdefault(kind, SimilarityHistogram()).add(part)


def _cosines(sidecar: Sidecar, teacher: str) -> Iterator[np.ndarray]:
    """Yield float32 (1+C, A, n) of the valid samples, some hundreds at a time."""
    valid = np.flatnonzero(sidecar.valid)
    for start in range(0, len(valid), _SAMPLES_AT_ONCE):
        rows = valid[start : start + _SAMPLES_AT_ONCE]
        views = [
            sidecar.image_embeddings(teacher, rows, a) for a in range(sidecar.header.augmentations)
        ]
        texts = [
            sidecar.text_embeddings(teacher, rows, t) for t in range(1 + sidecar.header.captions)
        ]
        yield np.einsum("and,tnd->tan", np.stack(views), np.stack(texts))
