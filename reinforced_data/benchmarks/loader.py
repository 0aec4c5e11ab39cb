"""Samples a second of the loader, reinforced and plain, beside open_clip's own input pipeline.

Every pipeline reads the same shards, draws the same crops, makes pictures of the same size and
tokenizes with the same tokenizer. open_clip's is `open_clip_train.data.get_wds_dataset` with
`image_transform(is_train=True)`: Pillow, torchvision, floats; one caption a picture. The reinforced
ones also replay RandAugment, and read a synthetic caption and the embeddings of two teachers.
"""

from __future__ import annotations

import statistics
import time
from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from zoo.models.tokenizer import Tokenizer
from zoo.reinforced_data.augmentation.policy import AugmentationPolicy
from zoo.reinforced_data.benchmarks.stored_layouts import AUGMENTATIONS, CAPTIONS, STORAGE, TEACHERS
from zoo.reinforced_data.loading.data_set import DataSource
from zoo.reinforced_data.loading.loader import Loader
from zoo.reinforced_data.loading.views import Pixels, upright_size
from zoo.reinforced_data.randomness import keyed_rng
from zoo.reinforced_data.shards.find import find_shards
from zoo.reinforced_data.shards.index import ShardIndex
from zoo.reinforced_data.sidecars.embedding_storage import EmbeddingRows
from zoo.reinforced_data.sidecars.header import SidecarHeader
from zoo.reinforced_data.sidecars.sidecar import SidecarRows, sidecar_path, write_sidecar

PEER = "open_clip, plain"
POLICY = AugmentationPolicy()
CROPS_ONLY = replace(POLICY, num_ops=0)

Batches = Callable[[], Iterator[Any]]
"""Starts a pipeline; its batches have no end."""


@dataclass(frozen=True)
class LoaderRow:
    """One pipeline's speed: medians over the rounds, with the lowest and the highest."""

    pipeline: str
    workers: int
    """Processes beside the one that trains."""
    wall_speed: float
    """Samples a second of wall time."""
    wall_lowest: float
    wall_highest: float
    wall_ratio: float
    """To open_clip's, the median of the rounds' ratios."""
    cpu_speed: float | None
    """Samples a second of CPU time; None with workers, whose time is not seen."""
    cpu_ratio: float | None


@dataclass(frozen=True, kw_only=True)
class LoaderSetting:
    """What every pipeline is asked for."""

    shards: tuple[Path, ...]
    sidecars: Path
    """Folder of `write_sidecars`."""
    image_size: int
    batch_size: int
    workers: int

    @property
    def warm_up(self) -> int:
        """Batches that are not timed: the first one, and those that workers have made by then."""
        return 1 + 3 * self.workers


def measure_loader(
    setting: LoaderSetting,
    *,
    rounds: int,
    batches: int,
    on_round: Callable[[int, int], None] | None = None,
) -> list[LoaderRow]:
    """Take `batches` from each pipeline in turn, begun anew, `rounds` times.

    A round before the first is not counted. Raises ValueError where open_clip's pipeline, OpenCV or
    simplejpeg are not installed, and for shards that hold less than a batch.
    """
    pipelines = _pipelines(setting)
    speeds: dict[str, list[tuple[float, float]]] = {name: [] for name in pipelines}
    for number in range(rounds + 1):
        for name, start in pipelines.items():
            speed = _speed(start, setting, batches)
            if number:
                speeds[name].append(speed)
        if on_round is not None:
            on_round(number, rounds)
    return [_row(name, setting.workers, speeds[name], speeds[PEER]) for name in pipelines]


def write_sidecars(shards: Sequence[Path], folder: Path) -> None:
    """Write the sidecar of each shard into `folder`: drawn embeddings, each photo's own captions.

    10 augmentations, 5 + 1 captions, 2 teachers of 768 numbers, int8. Raises ValueError for a
    sample that the loader could not use.
    """
    for shard in shards:
        write_sidecar(folder / sidecar_path(shard).name, *_reinforcement(shard))


def _pipelines(setting: LoaderSetting) -> dict[str, Batches]:
    def zoo(pixels: Pixels, policy: AugmentationPolicy | None) -> Batches:
        return lambda: _zoo_batches(setting, pixels, policy)

    return {
        PEER: lambda: _open_clip_batches(setting),
        "zoo, plain, exact": zoo("exact", CROPS_ONLY),
        "zoo, plain, fast": zoo("fast", CROPS_ONLY),
        "zoo, reinforced, exact": zoo("exact", None),
        "zoo, reinforced, fast": zoo("fast", None),
    }


def _zoo_batches(
    setting: LoaderSetting, pixels: Pixels, policy: AugmentationPolicy | None
) -> Iterator[Any]:
    """Plain batches that `policy` draws, or reinforced ones without it."""
    loader = Loader(
        DataSource(shards=setting.shards, sidecars=None if policy else setting.sidecars),
        tokenize=Tokenizer(),
        image_size=setting.image_size,
        batch_size=setting.batch_size,
        reinforced=policy is None,
        policy=policy,
        pixels=pixels,
        num_workers=setting.workers,
    )
    while True:
        yield from loader


def _open_clip_batches(setting: LoaderSetting) -> Iterator[Any]:
    try:
        from open_clip import image_transform
        from open_clip_train import data as open_clip_data
        from webdataset.tariterators import tar_file_expander
    except ImportError as error:
        raise ValueError(
            f"open_clip's pipeline cannot be imported ({error}); install pandas, which it needs."
        ) from error
    # It asks for webdataset <= 0.2.86; 1.0 ends every tar with an empty record that it cannot read.
    open_clip_data.tar_file_expander = partial(tar_file_expander, eof_value=None)
    arguments = Namespace(
        train_data="::".join(str(shard) for shard in setting.shards),
        train_num_samples=1_000_000_000,  # never ends, as ours
        train_data_upsampling_factors=None,
        dataset_resampled=False,
        seed=0,
        batch_size=setting.batch_size,
        workers=setting.workers,
        world_size=1,
    )
    # The crop's aspect ratio is torchvision's default on both sides.
    crop: dict[str, Any] = {"scale": POLICY.scale}
    transform = image_transform(setting.image_size, is_train=True, aug_cfg=crop)
    info = open_clip_data.get_wds_dataset(
        arguments, transform, is_train=True, tokenizer=_tokenize_first_line
    )
    yield from info.dataloader


def _tokenize_first_line(text: str) -> Tensor:
    # open_clip takes a file of several captions for one long one, which would cost it more.
    return Tokenizer()(text.strip().split("\n")[0])


def _speed(start: Batches, setting: LoaderSetting, batches: int) -> tuple[float, float]:
    """Samples a second of wall time and of this process's CPU time."""
    stream = start()
    for _ in range(setting.warm_up):
        next(stream)
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(batches):
        next(stream)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    samples = batches * setting.batch_size
    return samples / wall, samples / cpu


def _row(
    name: str, workers: int, speeds: list[tuple[float, float]], peer: list[tuple[float, float]]
) -> LoaderRow:
    walls = [wall for wall, _ in speeds]
    ratios = [
        (wall / peer_wall, cpu / peer_cpu)
        for (wall, cpu), (peer_wall, peer_cpu) in zip(speeds, peer, strict=True)
    ]
    return LoaderRow(
        pipeline=name,
        workers=workers,
        wall_speed=statistics.median(walls),
        wall_lowest=min(walls),
        wall_highest=max(walls),
        wall_ratio=statistics.median(wall for wall, _ in ratios),
        cpu_speed=None if workers else statistics.median(cpu for _, cpu in speeds),
        cpu_ratio=None if workers else statistics.median(cpu for _, cpu in ratios),
    )


def _reinforcement(shard: Path) -> tuple[SidecarHeader, SidecarRows]:
    index = ShardIndex(shard)
    samples = [index.read(i) for i in range(len(index))]
    params = np.stack([_params(shard, sample.key, sample.image) for sample in samples])
    header = SidecarHeader(
        shard=shard.name,
        shard_bytes=shard.stat().st_size,
        samples=len(samples),
        augmentation=POLICY,
        augmentations=AUGMENTATIONS,
        captions=CAPTIONS,
        captioner={"name": "the photographs' own captions"},
        teachers=tuple(replace(teacher, storage=STORAGE) for teacher in TEACHERS),
        seed=0,
        packages={},
    )
    rows = SidecarRows(
        keys=index.keys,
        digests=np.stack([np.frombuffer(index.digest(i), np.uint8) for i in range(len(index))]),
        valid=np.ones(len(samples), bool),
        augment_params=params,
        captions=[(sample.captions * CAPTIONS)[:CAPTIONS] for sample in samples],
        image_embeddings=_drawn(shard, len(samples), AUGMENTATIONS),
        text_embeddings=_drawn(shard, len(samples), 1 + CAPTIONS),
    )
    return header, rows


def _params(shard: Path, key: str, image: bytes) -> np.ndarray:
    rng = keyed_rng("augment", shard.name, key)
    return np.stack([POLICY.record(rng, *upright_size(image)) for _ in range(AUGMENTATIONS)])


def _drawn(shard: Path, samples: int, count: int) -> dict[str, EmbeddingRows]:
    """Directions at random, (samples, count, D) of each teacher."""
    found = {}
    for teacher in TEACHERS:
        rng = keyed_rng("embeddings", shard.name, teacher.name, count)
        rows = rng.standard_normal((samples, count, teacher.embed_dim), np.float32)
        rows /= np.linalg.norm(rows, axis=-1, keepdims=True)
        found[teacher.name] = EmbeddingRows.zeros(rows.shape, STORAGE)
        found[teacher.name].put(slice(None), rows)
    return found


def photographs(spec: Sequence[str]) -> tuple[Path, ...]:
    """Return the shards that `spec` names; ValueError where two have one file name."""
    shards = tuple(find_shards(spec))
    if len({shard.name for shard in shards}) < len(shards):
        raise ValueError("Two of the shards have the same file name; give those of one folder.")
    return shards
