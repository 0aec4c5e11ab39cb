"""The same reinforcement of the same photographs in three layouts: ours and both of Apple's."""

from __future__ import annotations

import io
import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image

from zoo.reinforced_data.augmentation.paug import APPLE_POLICY, format_paug
from zoo.reinforced_data.benchmarks.clip_like import ClipLike, clip_like_embeddings
from zoo.reinforced_data.datacompdr.published_sets import PUBLISHED_SETS
from zoo.reinforced_data.randomness import keyed_rng
from zoo.reinforced_data.shards.find import find_shards
from zoo.reinforced_data.shards.index import DIGEST_BYTES, ShardIndex
from zoo.reinforced_data.sidecars.embedding_storage import EmbeddingRows, Storage
from zoo.reinforced_data.sidecars.header import SidecarHeader
from zoo.reinforced_data.sidecars.sidecar import SidecarRows, write_sidecar

AUGMENTATIONS, CAPTIONS = 10, 5  # of DataCompDR-1B
TEACHERS = PUBLISHED_SETS["datacompdr"]
STORAGE: Storage = "int8"


class Photo(NamedTuple):
    """What the reinforcement of a photograph depends on."""

    key: str
    width: int
    height: int
    captions: tuple[str, ...]
    """C of them: the photograph's own, repeated."""


@dataclass(frozen=True)
class Layouts:
    """One file for each layout."""

    samples: int
    sidecar: Path
    npz: Path
    pth_gz: Path


def write_layouts(shards: Sequence[str], folder: Path, samples: int) -> Layouts:
    """Store 10 augmentations, 5 + 1 captions, 2 teachers of 768 numbers of up to `samples` photos.

    The photos are spread evenly over the shards. The augmentations are drawn for each photo's own
    size, the synthetic captions are its own captions (where it has none, those of another), the
    embeddings `clip_like_embeddings`. Apple's layouts are written by webdataset.
    Raises ValueError when nothing matches `shards` or no sample of theirs has a caption.
    """
    photos = _captioned([_photo(k, *place) for k, place in enumerate(_places(shards, samples))])
    if not photos:
        raise ValueError(f"The samples of {', '.join(shards)} have no captions; give other shards.")
    params = [_params(photo) for photo in photos]
    embeddings = [
        clip_like_embeddings(
            keyed_rng(teacher.name),
            len(photos),
            views=AUGMENTATIONS,
            texts=1 + CAPTIONS,
            dim=teacher.embed_dim,
        )
        for teacher in TEACHERS
    ]
    layouts = Layouts(
        len(photos), folder / "int8.reinforced.safetensors", folder / "npz.tar", folder / "pth.tar"
    )
    _write_sidecar(layouts.sidecar, photos, np.stack(params), embeddings)
    _write_apple(layouts, photos, params, embeddings)
    return layouts


def _places(shards: Sequence[str], samples: int) -> list[tuple[ShardIndex, int]]:
    indices = [ShardIndex(path) for path in find_shards(shards)]
    places = [(index, i) for index in indices for i in range(len(index))]
    step = max(1.0, len(places) / samples)
    return [places[int(k * step)] for k in range(min(samples, len(places)))]


def _photo(number: int, index: ShardIndex, i: int) -> Photo:
    sample = index.read(i)
    width, height = Image.open(io.BytesIO(sample.image)).size
    captions = tuple(itertools.islice(itertools.cycle(sample.captions), CAPTIONS))
    return Photo(f"{number:09d}", width, height, captions)


def _captioned(photos: Sequence[Photo]) -> list[Photo]:
    """The photos, those without captions with borrowed ones; empty when there is none to lend."""
    lenders = [photo.captions for photo in photos if photo.captions]
    if not lenders:
        return []
    lent = itertools.cycle(lenders)
    return [photo if photo.captions else photo._replace(captions=next(lent)) for photo in photos]


def _params(photo: Photo) -> np.ndarray:
    rng = keyed_rng("augment", photo.key)
    records = [APPLE_POLICY.record(rng, photo.width, photo.height) for _ in range(AUGMENTATIONS)]
    return np.stack(records)


def _write_sidecar(
    path: Path, photos: Sequence[Photo], params: np.ndarray, embeddings: Sequence[ClipLike]
) -> None:
    rows = SidecarRows(
        keys=[photo.key for photo in photos],
        digests=np.zeros((len(photos), DIGEST_BYTES), np.uint8),
        valid=np.ones(len(photos), bool),
        augment_params=params,
        captions=[photo.captions for photo in photos],
        image_embeddings={
            teacher.name: _stored(part.images)
            for teacher, part in zip(TEACHERS, embeddings, strict=True)
        },
        text_embeddings={
            teacher.name: _stored(part.texts)
            for teacher, part in zip(TEACHERS, embeddings, strict=True)
        },
    )
    header = SidecarHeader(
        shard="photos.tar",
        shard_bytes=0,
        samples=len(photos),
        augmentation=APPLE_POLICY,
        augmentations=AUGMENTATIONS,
        captions=CAPTIONS,
        captioner={"name": "the photographs' own captions"},
        teachers=tuple(replace(teacher, storage=STORAGE) for teacher in TEACHERS),
        seed=0,
        packages={},
    )
    write_sidecar(path, header, rows)


def _stored(rows: np.ndarray) -> EmbeddingRows:
    samples, count, dim = rows.shape
    stored = EmbeddingRows.zeros((samples, count, dim), STORAGE)
    stored.put(slice(None), rows)
    return stored


def _write_apple(
    layouts: Layouts,
    photos: Sequence[Photo],
    params: Sequence[np.ndarray],
    embeddings: Sequence[ClipLike],
) -> None:
    from webdataset.writer import TarWriter

    images = np.concatenate([part.images for part in embeddings], axis=-1)
    texts = np.concatenate([part.texts for part in embeddings], axis=-1)
    # Without mtime=0 each member gets another 1,024 bytes: a pax header for a fraction of a second.
    with (
        TarWriter(str(layouts.npz), mtime=0) as npz,
        TarWriter(str(layouts.pth_gz), mtime=0) as pth_gz,
    ):
        for i, photo in enumerate(photos):
            record = format_paug(params[i], photo.width, photo.height)
            shared = {
                "__key__": photo.key,
                "syn.json": json.dumps({"syn_text": photo.captions}),
                "paug.json": json.dumps(record),
            }
            rows = {"image_emb": images[i], "text_emb": texts[i]}
            npz.write(shared | {"npz": rows})
            bf16 = {name: torch.from_numpy(array).bfloat16() for name, array in rows.items()}
            pth_gz.write(shared | {"pth.gz": bf16})
