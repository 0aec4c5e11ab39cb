"""A disk that is full while a file is written leaves the old file whole and nothing beside it.

Run: .venv/bin/pytest tests/reinforced_data/shards/test_full_disk.py
"""

from __future__ import annotations

import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import fsspec
import numpy as np
import pytest
from reinforced_shards import add_sidecar
from tiny_shards import make_samples

from zoo.reinforced_data.shards.remote import download
from zoo.reinforced_data.shards.repair import repair_shard
from zoo.reinforced_data.shards.write import write_shards
from zoo.reinforced_data.sidecars.tensor_file import write_tensors


@contextmanager
def full_disk(room: int) -> Iterator[None]:
    """The kernel lets no file grow beyond `room` bytes: OSError in the midst of writing."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def download_over(folder: Path) -> None:
    fsspec.filesystem("memory").pipe("/full/0.tar", bytes(9000))
    download("memory://full/0.tar", folder)


WRITERS: dict[str, Callable[[Path], object]] = {
    "shard": lambda folder: write_shards(make_samples(9), folder / "shards"),
    "repair": lambda folder: repair_shard(folder / "source/00000.tar", folder / "copies"),
    "tensors": lambda folder: write_tensors(
        folder / "source/00000.reinforced.safetensors", {"a": np.ones(9000, np.float32)}, {}
    ),
    "sidecar": lambda folder: add_sidecar(folder / "source/00000.tar", augmentations=99),
    "download": download_over,
}


@pytest.mark.parametrize("writer", WRITERS)
def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path: Path, writer: str) -> None:
    (shard,) = write_shards(make_samples(4), tmp_path / "source")
    add_sidecar(shard)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with full_disk(3000), pytest.raises(OSError, match="File too large"):
        WRITERS[writer](tmp_path)
    after = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert {path: data for path, data in after.items() if path.suffix != ".lock"} == before
