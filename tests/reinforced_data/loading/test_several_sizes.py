"""Batches of several picture sizes: one for each batch, drawn by the seed, the same everywhere.

Run: pytest tests/reinforced_data/loading/test_several_sizes.py
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_shards import make_samples
from torch import Tensor

from zoo.reinforced_data.loading.loader import Loader
from zoo.reinforced_data.shards.write import write_shards

SIZES = (16, 24, 32)


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return write_shards(make_samples(12), tmp_path_factory.mktemp("sizes"), samples_per_shard=6)


def tokenize(texts: list[str]) -> Tensor:
    return torch.tensor([[len(text), sum(map(ord, text))] for text in texts])


def make_loader(shards: list[Path], **changes: Any) -> Loader:
    settings = {"tokenize": tokenize, "image_size": SIZES, "batch_size": 2, "seed": 3}
    return Loader(shards, **(settings | changes))


def batches(loader: Loader, passes: int = 1) -> list[dict[str, Tensor]]:
    return [batch for _ in range(passes) for batch in loader]


def sides(made: list[dict[str, Tensor]]) -> list[int]:
    return [batch["image"].shape[-1] for batch in made]


def test_every_size_comes_about_as_often_and_another_seed_draws_others(shards: list[Path]) -> None:
    drawn = sides(batches(make_loader(shards), passes=15))
    assert set(drawn) == set(SIZES)
    assert min(Counter(drawn).values()) > 0.2 * len(drawn)
    assert sides(batches(make_loader(shards, seed=4), passes=15)) != drawn


def test_the_samples_are_those_of_one_size(shards: list[Path]) -> None:
    several, one = batches(make_loader(shards)), batches(make_loader(shards, image_size=24))
    assert set(sides(one)) == {24}
    for a, b in zip(several, one, strict=True):
        assert torch.equal(a["text"], b["text"])
        if a["image"].shape == b["image"].shape:
            assert torch.equal(a["image"], b["image"])


def test_ranks_and_workers_make_the_same_batches(shards: list[Path]) -> None:
    alone = batches(make_loader(shards, num_workers=2))
    parts = [batches(make_loader(shards, batch_size=1, rank=rank, world_size=2)) for rank in (0, 1)]
    for whole, *shares in zip(alone, *parts, strict=True):
        for key, value in whole.items():
            assert torch.equal(value, torch.cat([share[key] for share in shares])), key


def test_a_saved_state_leads_on_to_the_same_sizes(shards: list[Path]) -> None:
    loader, resumed = make_loader(shards), make_loader(shards)
    stream = iter(loader)
    for _ in range(2):
        next(stream)
    resumed.load_state_dict(loader.state_dict())
    for a, b in zip(stream, resumed, strict=True):
        assert torch.equal(a["image"], b["image"])
