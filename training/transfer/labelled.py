"""The few labelled pictures of a task: which they are, and what a frozen model sees in them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from zoo.models.preprocess import open_image
from zoo.reinforced_data.curation.pool import OnProgress, no_progress
from zoo.reinforced_data.curation.subset import Subset, write_subset
from zoo.reinforced_data.engine.teachers import Teacher
from zoo.reinforced_data.randomness import keyed_rng
from zoo.reinforced_data.shards.index import ShardIndex
from zoo.reinforced_data.sidecars.tensor_file import TensorFile, write_tensors

_BATCH = 64


@dataclass(frozen=True, kw_only=True)
class Labelled:
    """What a model sees in N labelled pictures."""

    features: Tensor
    """float32 (N, D), rows of length 1."""
    labels: Tensor
    """int64 (N,)"""
    of: str
    """The model's name: a teacher's in the sidecars, or a zoo model's."""
    pretrained: str
    """Which weights it had."""


def choose_labels(shards: Sequence[Path], per_class: int, output: Path, *, seed: int) -> None:
    """Write the subset of `per_class` random pictures of each class; the seed decides which.

    Raises ValueError, naming the class, where there are fewer, and for pictures without a label.
    """
    indexes = [ShardIndex(shard) for shard in shards]
    places = [(index, row) for index in indexes for row in range(len(index))]
    labels = np.array([_label(index, row) for index, row in places], np.int64)
    chosen: list[int] = []
    for label in np.unique(labels).tolist():
        of_class = np.flatnonzero(labels == label)
        if len(of_class) < per_class:
            raise ValueError(
                f"Class {label} has {len(of_class)} labelled pictures, fewer than {per_class}; "
                "ask for fewer of each class."
            )
        rng = keyed_rng(seed, "labels", label)
        chosen += rng.permutation(of_class)[:per_class].tolist()
    kept: dict[str, list[str]] = {index.path.name: [] for index in indexes}
    for index, row in (places[number] for number in sorted(chosen)):
        kept[index.path.name].append(index.keys[row])
    weighted = {name: (keys, np.ones(len(keys), np.float32)) for name, keys in kept.items()}
    write_subset(output, weighted, {"made_by": "transfer", "labels_per_class": str(per_class)})


def encode_labelled(
    shards: Sequence[Path],
    encoder: Teacher,
    *,
    subset: Path | None = None,
    on_progress: OnProgress = no_progress,
) -> Labelled:
    """Encode the labelled pictures of some shards, those of `subset` only where one is given.

    Raises ValueError, naming shard and key, for a picture without a label or that is damaged.
    """
    chosen = None if subset is None else Subset.open(subset)
    places = [(index, row) for index, rows in _rows(shards, chosen) for row in rows]
    pictures: list[Image.Image] = []
    labels: list[int] = []
    features: list[np.ndarray] = []
    for number, (index, row) in enumerate(places, 1):
        labels.append(_label(index, row))
        pictures.append(_picture(index, row))
        if len(pictures) == _BATCH or number == len(places):
            features.append(encoder.encode_images(pictures))
            pictures = []
            on_progress("encoding labelled pictures", number, len(places))
    return Labelled(
        features=torch.from_numpy(np.concatenate(features)),
        labels=torch.tensor(labels),
        of=encoder.name,
        pretrained=encoder.pretrained,
    )


def save_labelled(labelled: Labelled, path: Path) -> None:
    """Write features and labels to a safetensors file, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = {"features": labelled.features.numpy(), "labels": labelled.labels.numpy()}
    write_tensors(path, tensors, {"of": labelled.of, "pretrained": labelled.pretrained})


def load_labelled(path: Path) -> Labelled:
    """Read a file of `save_labelled`. Raises ValueError for one that is damaged."""
    try:
        file = TensorFile(path)
        file.verify()
    except ValueError as error:
        raise ValueError(f"'{path}' is damaged; delete it, and it is made again.") from error
    return Labelled(
        features=torch.from_numpy(file.tensors["features"].copy()),
        labels=torch.from_numpy(file.tensors["labels"].copy()),
        of=file.metadata["of"],
        pretrained=file.metadata["pretrained"],
    )


def _rows(shards: Sequence[Path], subset: Subset | None) -> Iterator[tuple[ShardIndex, list[int]]]:
    for shard in shards:
        index = ShardIndex(shard)
        rows = np.arange(len(index))
        if subset is not None:
            rows, _ = subset.rows(shard.name, index.keys)
        yield index, rows.tolist()


def _label(index: ShardIndex, row: int) -> int:
    label = index.read(row).label
    if label is None:
        raise ValueError(
            f"{index.describe(row)} has no label; labelled shards need a .cls for each picture."
        )
    return label


def _picture(index: ShardIndex, row: int) -> Image.Image:
    try:
        return open_image(index.read(row).image)
    except ValueError as error:
        raise ValueError(f"{index.describe(row)} has no usable picture: {error}") from error
