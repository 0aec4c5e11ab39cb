"""One training sample at a time, as a function of its place in the plan: plain and reinforced."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from zoo.reinforced_data.augmentation.policy import AugmentationPolicy
from zoo.reinforced_data.loading.data_set import DataSet, OpenShard
from zoo.reinforced_data.loading.plan import Place
from zoo.reinforced_data.loading.source import ReinforcementSource
from zoo.reinforced_data.loading.views import Renderer, upright_size
from zoo.reinforced_data.randomness import keyed_rng
from zoo.reinforced_data.shards.sample import Sample


class TrainingSamples(Protocol):
    """Samples by data set and place."""

    def read(self, data_set: int, place: Place) -> dict[str, Any]:
        """Return a sample under the batch's keys: `image` uint8 (S, S, 3), texts undivided.

        `label`, and in plain training `text`, are there for a sample that has them. Raises
        ValueError, naming shard and key, for a sample that cannot be used.
        """
        ...


class PlainSamples:
    """A fresh augmentation and a random ground-truth caption of each picture."""

    def __init__(
        self,
        data_sets: Sequence[DataSet],
        render: Renderer,
        seed: int,
        policy: AugmentationPolicy,
    ) -> None:
        self._data_sets, self._render = data_sets, render
        self._seed, self._policy = seed, policy

    def read(self, data_set: int, place: Place) -> dict[str, Any]:
        """Return `image`, and `text` and `label` or one of them; see `TrainingSamples`."""
        shard = self._data_sets[data_set].open(place.shard)
        row, sample = _read(shard, place)
        if not sample.captions and sample.label is None:
            raise _without(shard, row, "caption and no label")
        rng = keyed_rng(self._seed, "sample", data_set, *place)
        try:
            params = self._policy.record(rng, *upright_size(sample.image))
            image = self._render(sample.image, params, self._policy)
        except ValueError as error:
            raise _unusable(shard, row, error) from error
        item = {"image": image} | _label(sample)
        if sample.captions:
            item["text"] = sample.captions[rng.integers(len(sample.captions))]
        return item


class ReinforcedSamples:
    """A stored augmentation, captions, and the teachers' embeddings of both.

    `synthetic_ratio` None: the first ground-truth and a synthetic caption. A number: one of them,
    the synthetic one with this probability. Without `texts`: no captions, which pictures then need
    not have.
    """

    def __init__(
        self,
        data_sets: Sequence[DataSet],
        render: Renderer,
        seed: int,
        synthetic_ratio: float | None,
        *,
        texts: bool = True,
    ) -> None:
        self._data_sets, self._render = data_sets, render
        self._seed, self._synthetic_ratio = seed, synthetic_ratio
        self._has_texts = texts

    def read(self, data_set: int, place: Place) -> dict[str, Any]:
        """Return a sample with its embeddings; see `TrainingSamples`."""
        shard = self._data_sets[data_set].open(place.shard)
        source = shard.source
        assert source is not None
        row, sample = _read(shard, place)
        if self._has_texts and not sample.captions:
            raise _without(shard, row, "caption")
        rng = keyed_rng(self._seed, "sample", data_set, *place)
        augmentation = int(rng.integers(source.header.augmentations))
        params = source.augment_params(row, augmentation)
        try:
            item: dict[str, Any] = {"image": self._render(sample.image, params, source.policy)}
        except ValueError as error:
            raise _unusable(shard, row, error) from error
        for name in source.teachers:
            item[f"teacher_image.{name}"] = source.image_embedding(name, row, augmentation)
        if self._has_texts:
            item |= self._texts(source, row, sample, rng)
        return item | _label(sample)

    def _texts(
        self, source: ReinforcementSource, row: int, sample: Sample, rng: np.random.Generator
    ) -> dict[str, Any]:
        captions = source.header.captions
        chosen = 1 + int(rng.integers(captions)) if captions else 0
        if self._synthetic_ratio is not None:
            only = chosen if rng.random() < self._synthetic_ratio else 0
            return _text(source, row, sample, only, "text", "teacher_text")
        texts = _text(source, row, sample, 0, "text", "teacher_text")
        if captions:
            texts |= _text(source, row, sample, chosen, "synthetic_text", "teacher_synthetic")
        return texts


def _text(
    source: ReinforcementSource, row: int, sample: Sample, text: int, key: str, teacher_key: str
) -> dict[str, Any]:
    """Text 0 is the first ground-truth caption, 1+c synthetic caption c."""
    item: dict[str, Any] = {
        f"{teacher_key}.{name}": source.text_embedding(name, row, text) for name in source.teachers
    }
    item[key] = source.caption(row, text - 1) if text else sample.captions[0]
    return item


def _read(shard: OpenShard, place: Place) -> tuple[int, Sample]:
    """Row in the shard and undecoded sample."""
    row = int(shard.rows[place.sample])
    return row, shard.index.read(row)


def _label(sample: Sample) -> dict[str, Any]:
    return {} if sample.label is None else {"label": sample.label}


def _without(shard: OpenShard, row: int, what: str) -> ValueError:
    return ValueError(
        f"{shard.index.describe(row)} has no {what}; add one or leave the sample out."
    )


def _unusable(shard: OpenShard, row: int, error: ValueError) -> ValueError:
    return ValueError(f"{shard.index.describe(row)} has no usable picture: {error}")
