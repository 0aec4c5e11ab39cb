"""Sidecars of real shards, with true digests and augmentations and drawn embeddings.

Used by .venv/bin/pytest tests/reinforced_data/inspection tests/zoo/test_data_inspect.py
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from zoo.reinforced_data.augmentation.policy import AugmentationPolicy
from zoo.reinforced_data.randomness import keyed_rng
from zoo.reinforced_data.shards.index import DIGEST_BYTES, ShardIndex, load_picture
from zoo.reinforced_data.sidecars.embedding_storage import EmbeddingRows, Storage
from zoo.reinforced_data.sidecars.header import SidecarHeader, TeacherInfo
from zoo.reinforced_data.sidecars.sidecar import SidecarRows, sidecar_path, write_sidecar

DIMENSION = 16
SYNTHETIC = ("a bright thing in soft light", "something close to the camera")


def add_sidecar(
    shard: Path,
    *,
    teachers: Sequence[str] = ("sage", "owl.tiny"),
    augmentations: int = 3,
    storage: Storage = "int8",
    change: Callable[[SidecarRows], object] = lambda rows: None,
) -> Path:
    """Write the sidecar of `shard`; `change` may spoil its rows before."""
    index = ShardIndex(shard, on_error="skip")
    policy = AugmentationPolicy(flip_probability=0.5)
    usable = {i: picture for i in range(len(index)) if (picture := _picture(index, i))}
    rows = SidecarRows(
        keys=index.keys,
        digests=_digests(index),
        valid=np.isin(np.arange(len(index)), list(usable)),
        augment_params=np.zeros((len(index), augmentations, len(policy.columns)), np.float32),
        captions=[SYNTHETIC if i in usable else ("", "") for i in range(len(index))],
        image_embeddings={t: _rows("image", t, index, augmentations, storage) for t in teachers},
        text_embeddings={t: _rows("text", t, index, 3, storage) for t in teachers},
    )
    for i, picture in usable.items():
        for a in range(augmentations):
            rng = keyed_rng(shard.name, i, a)
            rows.augment_params[i, a] = policy.record(rng, picture.width, picture.height)
    change(rows)
    header = SidecarHeader(
        shard=shard.name,
        shard_bytes=shard.stat().st_size,
        samples=len(index),
        augmentation=policy,
        augmentations=augmentations,
        captions=2,
        captioner={"name": "made"},
        teachers=tuple(_info(name, storage) for name in teachers),
        seed=0,
        packages={},
    )
    write_sidecar(sidecar_path(shard), header, rows)
    return sidecar_path(shard)


def _picture(index: ShardIndex, i: int) -> Image.Image | None:
    try:
        return load_picture(index, i)[1]
    except ValueError:
        return None


def _digests(index: ShardIndex) -> np.ndarray:
    digests = np.zeros((len(index), DIGEST_BYTES), np.uint8)
    for i in set(range(len(index))) - set(index.problems):
        digests[i] = np.frombuffer(index.digest(i), np.uint8)
    return digests


def _rows(
    kind: str, teacher: str, index: ShardIndex, count: int, storage: Storage
) -> EmbeddingRows:
    """Unit vectors around one direction a sample, so that cosines are about 0.7."""
    rows = EmbeddingRows.zeros((len(index), count, DIMENSION), storage)
    for i, key in enumerate(index.keys):
        common = keyed_rng(teacher, key).standard_normal(DIMENSION)
        own = keyed_rng(kind, teacher, key).standard_normal((count, DIMENSION))
        vectors = (common + 0.6 * own).astype(np.float32)
        rows.put([i], (vectors / np.linalg.norm(vectors, axis=1, keepdims=True))[None])
    return rows


def _info(name: str, storage: Storage) -> TeacherInfo:
    return TeacherInfo(
        name=name,
        pretrained="made",
        embed_dim=DIMENSION,
        image_size=64,
        logit_scale=100.0,
        storage=storage,
    )
