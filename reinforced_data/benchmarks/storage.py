"""What stored reinforcement costs, in bytes and CPU, against both layouts that Apple published.

Each reader returns what one training sample takes: one recorded augmentation, for every teacher
the image row of that augmentation, the ground-truth row and one synthetic row, and that caption.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from zoo.reinforced_data.benchmarks.stored_layouts import (
    AUGMENTATIONS,
    CAPTIONS,
    TEACHERS,
    Layouts,
)
from zoo.reinforced_data.datacompdr.source import group_reinforcement
from zoo.reinforced_data.randomness import keyed_rng
from zoo.reinforced_data.shards.tar_index import Member, index_tar
from zoo.reinforced_data.sidecars.sidecar import Sidecar
from zoo.reinforced_data.sidecars.tensor_file import TensorFile

_BLOCK = 512  # of a tar: header, and what data are filled up to
_PAGE = 4096  # of the operating system


class Pick(NamedTuple):
    """One training sample: which photograph, augmentation and synthetic caption."""

    sample: int
    augmentation: int
    caption: int


class Reinforcement(NamedTuple):
    """What a reader returns."""

    augmentation: Any
    """A record as the layout has it."""
    caption: str
    image: list[np.ndarray]
    """float32 (D_k,) of each teacher; likewise:"""
    text: list[np.ndarray]
    synthetic: list[np.ndarray]


Read = Callable[[Pick], Reinforcement]


@dataclass(frozen=True)
class StorageRow:
    """One layout's cost, means over samples; CPU is user + system time of the process."""

    layout: str
    embedding_bytes: float
    """Stored for the embeddings alone."""
    stored_bytes: float
    """Stored in all: for a tar with headers and padding."""
    read_bytes: float
    """Read for one training sample."""
    read_pages: float
    """Pages of 4 KiB that these lie in: what a disk has to give when nothing is cached."""
    cpu_us: float
    """Median over the rounds of the microseconds a sample."""
    cpu_us_lowest: float
    cpu_us_highest: float


def measure_storage(
    layouts: Layouts,
    *,
    rounds: int,
    picks: int,
    on_round: Callable[[int, int], None] | None = None,
) -> list[StorageRow]:
    """Read `picks` random training samples from each layout in turn, `rounds` times.

    Apple's members are found by an index and read with one call each, which costs them less than
    webdataset's walk through the tar. A round before the first is not counted; torch works in the
    threads that it is set to.
    """
    readers = {
        "sidecar, int8": sidecar_reader(layouts.sidecar),
        "Apple, npz fp32": apple_reader(layouts.npz),
        "Apple, pth.gz bf16": apple_reader(layouts.pth_gz),
    }
    chosen = _picks(layouts.samples, picks)
    times: dict[str, list[float]] = {layout: [] for layout in readers}
    for number in range(rounds + 1):
        for layout, read in readers.items():
            start = time.process_time()
            for pick in chosen:
                read(pick)
            if number:
                times[layout].append((time.process_time() - start) / len(chosen) * 1e6)
        if on_round is not None:
            on_round(number, rounds)
    sizes = (
        _sidecar_sizes(layouts, chosen),
        _apple_sizes(layouts.npz, "npz"),
        _apple_sizes(layouts.pth_gz, "pth.gz"),
    )
    return [
        StorageRow(layout, *size, statistics.median(spent), min(spent), max(spent))
        for (layout, spent), size in zip(times.items(), sizes, strict=True)
    ]


def sidecar_reader(path: Path) -> Read:
    """Return a reader of one of our sidecars."""
    sidecar = Sidecar.open(path)
    teachers = list(sidecar.teachers)

    def read(pick: Pick) -> Reinforcement:
        i, a, c = pick
        return Reinforcement(
            augmentation=sidecar.augment_params(i, a),
            caption=sidecar.caption(i, c),
            image=[sidecar.image_embedding(name, i, a) for name in teachers],
            text=[sidecar.text_embedding(name, i, 0) for name in teachers],
            synthetic=[sidecar.text_embedding(name, i, 1 + c) for name in teachers],
        )

    return read


def apple_reader(path: Path) -> Read:
    """Return a reader of one of Apple's tars that does what `preprocess_dr` of his patch does."""
    groups = list(group_reinforcement(index_tar(path)).values())
    descriptor = os.open(path, os.O_RDONLY)
    ends = np.cumsum([teacher.embed_dim for teacher in TEACHERS]).tolist()
    parts = [slice(end - t.embed_dim, end) for t, end in zip(TEACHERS, ends, strict=True)]

    def content(member: Member) -> bytes:
        return os.pread(descriptor, member.size, member.offset)

    def read(pick: Pick) -> Reinforcement:
        members = groups[pick.sample]
        images, texts = _apple_rows(members, content)
        rows = images[pick.augmentation], texts[0], texts[1 + pick.caption]
        image, text, synthetic = ([row[part] for part in parts] for row in rows)
        return Reinforcement(
            augmentation=json.loads(content(members["paug.json"]))["param_aug"][pick.augmentation],
            caption=json.loads(content(members["syn.json"]))["syn_text"][pick.caption],
            image=image,
            text=text,
            synthetic=synthetic,
        )

    return read


def _apple_rows(
    members: Mapping[str, Member], content: Callable[[Member], bytes]
) -> tuple[np.ndarray, np.ndarray]:
    """Image and text embeddings, (A, D) and (1+C, D) float32: neither layout can give fewer."""
    if "npz" in members:
        arrays = np.load(io.BytesIO(content(members["npz"])))
        return arrays["image_emb"], arrays["text_emb"]
    unpacked = io.BytesIO(gzip.decompress(content(members["pth.gz"])))
    tensors = torch.load(unpacked, map_location="cpu", weights_only=True)
    return tensors["image_emb"].float().numpy(), tensors["text_emb"].float().numpy()


def _picks(samples: int, count: int) -> list[Pick]:
    rng = keyed_rng("picks")
    chosen = zip(
        rng.integers(samples, size=count).tolist(),
        rng.integers(AUGMENTATIONS, size=count).tolist(),
        rng.integers(CAPTIONS, size=count).tolist(),
        strict=True,
    )
    return [Pick(*pick) for pick in chosen]


def _sidecar_sizes(layouts: Layouts, picks: Sequence[Pick]) -> tuple[float, float, float, float]:
    """Embeddings, everything, read, pages: see `StorageRow`."""
    tensors = TensorFile(layouts.sidecar).tensors
    embeddings = sum(
        t.nbytes for name, t in tensors.items() if name.startswith(("image.", "text."))
    )
    touched = [_touched(tensors, pick) for pick in picks]
    return (
        embeddings / layouts.samples,
        layouts.sidecar.stat().st_size / layouts.samples,
        statistics.fmean(sum(view.nbytes for view in views) for views in touched),
        statistics.fmean(len(_pages(views)) for views in touched),
    )


def _touched(tensors: Mapping[str, np.ndarray], pick: Pick) -> list[np.ndarray]:
    """Views of what `sidecar_reader` reads of the mapped file."""
    i, a, c = pick
    views = [tensors["augment.params"][i, a]]
    for teacher in TEACHERS:
        for kind, row in (("image", a), ("text", 0), ("text", 1 + c)):
            prefix = f"{kind}.{teacher.name}"
            views += [tensors[f"{prefix}.values"][i, row]]
            views += [tensors[f"{prefix}.scale"][i, row : row + 1]]
    offsets = tensors["captions.offsets"][i * CAPTIONS + c :][:2]
    return [*views, offsets, tensors["captions.bytes"][offsets[0] : offsets[-1]]]


def _pages(views: Sequence[np.ndarray]) -> set[int]:
    # A file is mapped at the beginning of a page, so that addresses tell the pages of the file.
    starts = [view.ctypes.data for view in views]
    spans = [(start, start + view.nbytes) for start, view in zip(starts, views, strict=True)]
    return {page for start, end in spans for page in range(start // _PAGE, -(-end // _PAGE))}


def _apple_sizes(path: Path, suffix: str) -> tuple[float, float, float, float]:
    """Embeddings, everything, read, pages: see `StorageRow`; everything has to be read."""
    groups = group_reinforcement(index_tar(path)).values()
    whole = statistics.fmean(
        sum(_BLOCK + member.size + -member.size % _BLOCK for member in group.values())
        for group in groups
    )
    embeddings = statistics.fmean(group[suffix].size for group in groups)
    return embeddings, whole, whole, whole / _PAGE + 1
