"""Sidecars with chosen embeddings, without shards or models.

Used by .venv/bin/pytest tests/reinforced_data/curation
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from zoo.reinforced_data.augmentation.policy import AugmentationPolicy
from zoo.reinforced_data.shards.index import DIGEST_BYTES
from zoo.reinforced_data.sidecars.embedding_storage import EmbeddingRows, Storage
from zoo.reinforced_data.sidecars.header import SidecarHeader, TeacherInfo
from zoo.reinforced_data.sidecars.sidecar import SidecarRows, sidecar_path, write_sidecar

TEACHER = "sage"


def unit(vectors: np.ndarray) -> np.ndarray:
    vectors = np.asarray(vectors, np.float32)
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def random_unit(*shape: int, seed: int = 0) -> np.ndarray:
    return unit(np.random.default_rng(seed).standard_normal(shape))


def stored(embeddings: np.ndarray, storage: Storage) -> EmbeddingRows:
    rows = EmbeddingRows.zeros(embeddings.shape, storage)
    rows.put(slice(None), embeddings.astype(np.float32))
    return rows


def make_sidecar(
    shard: Path,
    images: np.ndarray,
    texts: np.ndarray | None = None,
    *,
    valid: np.ndarray | None = None,
    captions: list[tuple[str, ...]] | tuple[()] = (),
    teacher: str = TEACHER,
    pretrained: str = "made",
    storage: Storage = "fp32",
    keys: tuple[str, ...] = (),
) -> Path:
    """Write the sidecar of `shard`: images (N, D) or (N, A, D), texts (N, D), keys STEM-0, …"""
    images = images if images.ndim == 3 else images[:, None]
    count, augmentations, dimension = images.shape
    synthetic: list[tuple[str, ...]] = list(captions) or [()] * count
    text_rows = np.zeros((count, 1 + len(synthetic[0]), dimension), np.float32)
    text_rows[:, 0] = images[:, 0] if texts is None else texts
    header = SidecarHeader(
        shard=shard.name,
        shard_bytes=0,
        samples=count,
        augmentation=AugmentationPolicy(),
        augmentations=augmentations,
        captions=len(synthetic[0]),
        captioner={},
        teachers=(
            TeacherInfo(
                name=teacher,
                pretrained=pretrained,
                embed_dim=dimension,
                image_size=64,
                logit_scale=100.0,
                storage=storage,
            ),
        ),
        seed=0,
        packages={},
    )
    rows = SidecarRows(
        keys=keys or [f"{shard.stem}-{i}" for i in range(count)],
        valid=np.ones(count, bool) if valid is None else valid,
        augment_params=np.zeros((count, augmentations, 1), np.float32),
        captions=synthetic,
        digests=np.zeros((count, DIGEST_BYTES), np.uint8),
        image_embeddings={teacher: stored(images, storage)},
        text_embeddings={teacher: stored(text_rows, storage)},
    )
    path = sidecar_path(shard)
    write_sidecar(path, header, rows)
    return path
