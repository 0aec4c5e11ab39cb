"""`zoo data show`: samples of a reinforced shard as one looks at them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from zoo.reinforced_data.shards.index import ShardIndex, load_picture
from zoo.reinforced_data.sidecars.sidecar import Sidecar, sidecar_path

VIEW_SIZE = 224
"""Pixels a side of a replayed augmentation."""


@dataclass(frozen=True, kw_only=True)
class ReinforcedSample:
    """A picture with all that its sidecar holds of it."""

    key: str
    picture: Image.Image
    views: tuple[Image.Image, ...]
    """Its A recorded augmentations, replayed at `VIEW_SIZE`."""
    ground_truth: str
    synthetic: tuple[str, ...]
    """C captions."""
    similarity: Mapping[str, np.ndarray]
    """Cosine of each view and text by the teacher's name: float32 (A, 1+C), ground truth first."""


def reinforced_samples(
    shard: Path, *, keys: Sequence[str] = (), count: int = 4
) -> list[ReinforcedSample]:
    """Return the samples `keys` of a reinforced shard, or `count` spread over its valid ones.

    Raises FileNotFoundError without shard or sidecar; ValueError for a key that is not there or not
    valid, for a sidecar of another shard, and for a damaged file.
    """
    if count < 1:
        raise ValueError(f"The number of samples is {count}; give at least 1.")
    index = ShardIndex(shard, on_error="skip")
    sidecar = Sidecar.open(sidecar_path(shard))
    sidecar.check_shard(shard, index.keys)
    rows = [_row(index, sidecar, key) for key in keys] or _spread(sidecar, count)
    return [_sample(index, sidecar, row) for row in rows]


def _row(index: ShardIndex, sidecar: Sidecar, key: str) -> int:
    if key not in index.keys:
        raise ValueError(
            f"There is no sample {key!r} in shard {index.path}; its first is {index.keys[0]!r}."
        )
    row = index.keys.index(key)
    if not sidecar.valid[row]:
        raise ValueError(f"{index.describe(row)} could not be used and is not reinforced.")
    return row


def _spread(sidecar: Sidecar, count: int) -> list[int]:
    valid = np.flatnonzero(sidecar.valid)
    if not len(valid):
        raise ValueError(f"'{sidecar.path}' holds no valid sample; reinforce its shard again.")
    places = np.linspace(0, len(valid) - 1, min(count, len(valid)))
    return valid[places.round().astype(int)].tolist()


def _sample(index: ShardIndex, sidecar: Sidecar, row: int) -> ReinforcedSample:
    sample, picture = load_picture(index, row)
    augmentations = range(sidecar.header.augmentations)
    return ReinforcedSample(
        key=sample.key,
        picture=picture,
        views=tuple(
            sidecar.policy.replay(picture, sidecar.augment_params(row, a), VIEW_SIZE)
            for a in augmentations
        ),
        ground_truth=sample.captions[0] if sample.captions else "",
        synthetic=sidecar.captions(row),
        similarity={teacher: _similarity(sidecar, teacher, row) for teacher in sidecar.teachers},
    )


def _similarity(sidecar: Sidecar, teacher: str, row: int) -> np.ndarray:
    header = sidecar.header
    views = [sidecar.image_embedding(teacher, row, a) for a in range(header.augmentations)]
    texts = [sidecar.text_embedding(teacher, row, t) for t in range(1 + header.captions)]
    return np.stack(views) @ np.stack(texts).T
