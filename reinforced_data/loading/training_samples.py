"""One training sample at a time, as a function of (seed, epoch, sample): plain and reinforced."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image
from torch.utils.data import Dataset

from zoo.reinforced_data.augmentation.policy import AugmentationPolicy
from zoo.reinforced_data.randomness import keyed_rng
from zoo.reinforced_data.shards.index import ShardIndex, load_picture
from zoo.reinforced_data.sidecars.sidecar import Sidecar


class PlainSamples(Dataset[dict[str, Any]]):
    """A fresh augmentation and a random ground-truth caption of each picture."""

    def __init__(
        self, indices: Sequence[ShardIndex], policy: AugmentationPolicy, image_size: int, seed: int
    ) -> None:
        self._indices, self._policy = indices, policy
        self._image_size, self._seed = image_size, seed
        self._places = _places([np.arange(len(index)) for index in indices])

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, epoch_and_sample: tuple[int, int]) -> dict[str, Any]:
        """Return `image` uint8 (3, S, S) and `text`; ValueError names shard and key."""
        shard, row = self._places[epoch_and_sample[1]]
        sample, image = load_picture(self._indices[shard], row)
        rng = keyed_rng(self._seed, "sample", *epoch_and_sample)
        params = self._policy.record(rng, image.width, image.height)
        return {
            "image": _pixels(self._policy.replay(image, params, self._image_size)),
            "text": sample.captions[rng.integers(len(sample.captions))],
        }


class ReinforcedSamples(Dataset[dict[str, Any]]):
    """A stored augmentation, the first ground-truth and a stored caption, and their embeddings.

    Samples that the sidecar marks as not valid are left out.
    """

    def __init__(
        self,
        indices: Sequence[ShardIndex],
        sidecars: Sequence[Sidecar],
        image_size: int,
        seed: int,
    ) -> None:
        self._indices, self._sidecars = indices, sidecars
        self._image_size, self._seed = image_size, seed
        self._places = _places([np.flatnonzero(sidecar.valid) for sidecar in sidecars])

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, epoch_and_sample: tuple[int, int]) -> dict[str, Any]:
        """Return a sample under the batch's keys; ValueError names shard and key."""
        shard, row = self._places[epoch_and_sample[1]]
        sidecar, header = self._sidecars[shard], self._sidecars[shard].header
        sample, image = load_picture(self._indices[shard], row)
        rng = keyed_rng(self._seed, "sample", *epoch_and_sample)
        a = int(rng.integers(header.augmentations))
        view = sidecar.policy.replay(image, sidecar.augment_params(row, a), self._image_size)
        item = {"image": _pixels(view), "text": sample.captions[0]}
        for name in sidecar.teachers:
            item[f"teacher_image.{name}"] = sidecar.image_embedding(name, row, a)
            item[f"teacher_text.{name}"] = sidecar.text_embedding(name, row, 0)
        if header.captions:
            c = int(rng.integers(header.captions))
            item["synthetic_text"] = sidecar.captions(row)[c]
            for name in sidecar.teachers:
                item[f"teacher_synthetic.{name}"] = sidecar.text_embedding(name, row, 1 + c)
        return item


def _places(rows: Sequence[np.ndarray]) -> np.ndarray:
    """(shard, row) of every sample: int64 (N, 2)."""
    shards = np.repeat(np.arange(len(rows)), [len(row) for row in rows])
    return np.stack([shards, np.concatenate(rows)], axis=1)


def _pixels(image: Image.Image) -> np.ndarray:
    return np.ascontiguousarray(np.asarray(image).transpose(2, 0, 1))
