"""Training batches from shards, and from their sidecars when they are reinforced.

A batch is a dict of tensors:

    image                    uint8  (B, 3, S, S)   one augmentation of each picture, 0…255
    text                     int64  (B, T)         one ground-truth caption of each
    label                    int64  (B,)           class index of each, of labelled shards

`text` (plain) and `label` are in the batches whose samples all have them; every sample has one.
And, reinforced, for every teacher NAME (`synthetic` only where captions are stored):

    synthetic_text           int64  (B, T)         one synthetic caption of each
    teacher_image.NAME       float32 (B, D_k)      the teacher's embedding of that very augmentation
    teacher_text.NAME        float32 (B, D_k)      … of that ground-truth caption
    teacher_synthetic.NAME   float32 (B, D_k)      … of that synthetic caption

A reinforced picture shows its first ground-truth caption: the one whose embedding is stored. With a
`synthetic_ratio` it has one caption, its own or a synthetic one, in `text` and `teacher_text.NAME`.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from zoo.reinforced_data.augmentation.fast import prepare_worker
from zoo.reinforced_data.augmentation.policy import AugmentationPolicy
from zoo.reinforced_data.loading.batch_stream import BatchStream, made_by_workers
from zoo.reinforced_data.loading.batches import Batch, Batches, Slice, Tokenize
from zoo.reinforced_data.loading.data_set import DataSet, DataSource
from zoo.reinforced_data.loading.mixture import Mixture
from zoo.reinforced_data.loading.source import ReinforcementSource
from zoo.reinforced_data.loading.training_samples import (
    PlainSamples,
    ReinforcedSamples,
    TrainingSamples,
)
from zoo.reinforced_data.loading.views import Pixels, Renderer
from zoo.reinforced_data.sidecars.header import TeacherInfo

Data = str | Path | DataSource | Sequence[str | Path] | Sequence[DataSource]


class Loader(BatchStream):
    """Pictures and captions; see `BatchStream` for their order.

    A pass shows every sample once, or as often as its subset says. An epoch is one pass over one
    data set, or as many samples as all of them have.
    """

    def __init__(
        self,
        data: Data,
        *,
        tokenize: Tokenize,
        image_size: int | Sequence[int],
        batch_size: int,
        reinforced: bool = False,
        policy: AugmentationPolicy | None = None,
        synthetic_ratio: float | None = None,
        texts: bool = True,
        pixels: Pixels = "exact",
        seed: int = 0,
        num_workers: int = 0,
        pin_memory: bool = False,
        rank: int = 0,
        world_size: int = 1,
        cache_folder: Path | None = None,
    ) -> None:
        """Count the samples of the data: sidecars when reinforced, else an index of every shard.

        Args:
            data: shards as `find_shards` and `expand_urls` take them, or one or more `DataSource`.
            tokenize: from captions to int64 (B, T).
            image_size: S, in pixels. Of several, each batch has one, drawn from the seed; CVNets'
                sampler also gives small pictures larger batches, here all have `batch_size`.
            batch_size: samples of this rank's batches.
            reinforced: yield what sidecars, or Apple's members in the shards, store.
            policy: draws the augmentations of plain training; those of reinforced are stored.
            synthetic_ratio: None for both captions of a reinforced picture, or the probability of
                showing a synthetic one in place of its own.
            texts: yield captions and their embeddings; reinforced pictures alone need none.
            pixels: "exact" as the teacher saw them, or "fast".
            seed: of the order, of augmentations and of captions.
            num_workers: processes that prepare batches; 0 prepares them in this one.
            pin_memory: put batches where a CUDA device reads them without a copy by the CPU.
            rank: which part of every global batch is made here, 0 … world_size - 1.
            world_size: number of processes that train together.
            cache_folder: where shards and sidecars at URLs are copied to.

        Raises ValueError for damaged or mismatched shards and sidecars and for fewer samples than a
        global batch, FileNotFoundError for a sidecar that is not there.
        """
        assert 0 <= rank < world_size
        _check_options(reinforced, policy, synthetic_ratio)
        sources = _sources(data)
        self._data_sets = [
            DataSet(source, reinforced=reinforced, cache_folder=cache_folder) for source in sources
        ]
        _check_same_keys(self._data_sets, synthetic_ratio)
        self.teachers: Mapping[str, TeacherInfo] = self._data_sets[0].teachers
        plans = [data_set.plan(seed, "data", i) for i, data_set in enumerate(self._data_sets)]
        self._plan = Mixture(plans, [source.weight for source in sources], seed)
        super().__init__(Slice(batch_size, rank, world_size), len(self._plan))
        self.seed = seed
        sizes = (image_size,) if isinstance(image_size, int) else image_size
        samples: list[TrainingSamples] = [
            ReinforcedSamples(self._data_sets, render, seed, synthetic_ratio, texts=texts)
            if reinforced
            else PlainSamples(self._data_sets, render, seed, policy or AugmentationPolicy())
            for render in (Renderer(size, pixels) for size in sizes)
        ]
        self._batches = Batches(self._plan, samples, tokenize, self._part, seed)
        self._num_workers, self._pin_memory = num_workers, pin_memory
        self._worker_init = prepare_worker if pixels == "fast" else None

    def _start(self) -> Iterator[Batch | ValueError | OSError]:
        return made_by_workers(
            self._batches,
            itertools.count(self.position),
            num_workers=self._num_workers,
            pin_memory=self._pin_memory,
            worker_init=self._worker_init,
        )

    def _identity(self) -> dict[str, int | str]:
        return {
            "seed": self.seed,
            "global_batch_size": self._part.global_batch,
            "samples": self.samples,
            "data": ",".join(data_set.fingerprint() for data_set in self._data_sets),
        }


def _sources(data: Data) -> list[DataSource]:
    if isinstance(data, DataSource):
        return [data]
    if isinstance(data, str | Path):
        return [DataSource(shards=data)]
    sources = [one for one in data if isinstance(one, DataSource)]
    return sources or [DataSource(shards=[one for one in data if isinstance(one, str | Path)])]


def _check_options(
    reinforced: bool, policy: AugmentationPolicy | None, synthetic_ratio: float | None
) -> None:
    if reinforced and policy is not None:
        raise ValueError("Reinforced data have their augmentations stored; leave out policy.")
    if synthetic_ratio is None:
        return
    if not reinforced:
        raise ValueError("Plain data have no synthetic captions; leave out synthetic_ratio.")
    if not 0 <= synthetic_ratio <= 1:
        raise ValueError(f"synthetic_ratio is {synthetic_ratio}; give a value in [0, 1].")


def _check_same_keys(data_sets: Sequence[DataSet], synthetic_ratio: float | None) -> None:
    """Raise unless all data sets fill the same keys of a batch, and with what is asked for."""
    stored = [data_set.first for data_set in data_sets if data_set.first]
    for source in stored:
        if synthetic_ratio and not source.header.captions:
            raise ValueError(
                f"synthetic_ratio is {synthetic_ratio} but '{source.path}' stores no synthetic "
                "caption; reinforce with a captioner, or leave synthetic_ratio out."
            )
        ours, theirs = _keys(stored[0]), _keys(source)
        if ours != theirs:
            raise ValueError(
                f"'{stored[0].path}' holds {ours} but '{source.path}' holds {theirs}; data sets "
                "that are mixed need the same teachers, and synthetic captions all or none."
            )


def _keys(source: ReinforcementSource) -> str:
    teachers = (f"{t.name} ({t.embed_dim}, ×{t.logit_scale:g})" for t in source.teachers.values())
    captions = "with" if source.header.captions else "without"
    return f"teachers {', '.join(teachers)} {captions} synthetic captions"
