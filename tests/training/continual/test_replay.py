"""Buffers have the sizes of the paper, keep the same samples each time and never want one back.

Run: pytest tests/training/continual/test_replay.py
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from time_steps import NAMES, SIZES, toy_run, write_plan

from zoo.reinforced_data.curation.subset import Subset
from zoo.reinforced_data.loading.data_set import DataSource
from zoo.reinforced_data.shards.index import ShardIndex
from zoo.training.continual.plan import read_plan
from zoo.training.continual.replay import (
    Method,
    keep_samples,
    replay_sizes,
    training_sources,
)
from zoo.training.continual.run import ContinualRun
from zoo.training.run import build_loader, build_model

D = 1000


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_plan(tmp_path_factory.mktemp("time"))


@pytest.mark.parametrize(
    ("method", "kept"),
    [
        ("sequential", [0, 0, 0]),
        ("all", [D, D, D]),
        ("oracle", [D, D, D]),
        ("exp", [D // 8, D // 4, D // 2]),
        ("equal", [D // 3, D // 3, D // 3]),
    ],
)
def test_the_fourth_step_replays_what_the_paper_says(method: Method, kept: list[int]) -> None:
    assert replay_sizes(method, [D, D, D], D) == kept


@pytest.mark.parametrize("method", ["exp", "equal"])
def test_a_buffer_is_never_exceeded_and_never_asks_a_step_for_more_than_before(
    method: Method,
) -> None:
    sizes = [7, 1000, 3, 400, 400, 20, 999]
    before = [*sizes]
    for time in range(1, len(sizes)):
        kept = replay_sizes(method, sizes[:time], 100)
        assert sum(kept) <= 100
        assert all(now <= then for now, then in zip(kept, before, strict=False))
        before[:time] = kept


def kept_keys(run: ContinualRun, count: int, folder: Path) -> set[str]:
    path = folder / f"{count}.subset.safetensors"
    keep_samples(run.recipe, run.plan.steps[0], count, path)
    subset = Subset.open(path)
    return {key for shard in subset.shards for key in subset.keys(shard)}


def test_a_smaller_buffer_keeps_some_of_the_samples_of_a_larger_one(
    plan: Path, tmp_path: Path
) -> None:
    run = toy_run(plan, tmp_path)
    larger, smaller = (kept_keys(run, count, tmp_path) for count in (8, 3))
    assert (len(larger), len(smaller)) == (8, 3)
    assert smaller < larger
    first = (tmp_path / "3.subset.safetensors").read_bytes()
    assert kept_keys(run, 3, tmp_path) == smaller
    assert (tmp_path / "3.subset.safetensors").read_bytes() == first
    other = toy_run(plan, tmp_path, seed=1)
    assert kept_keys(other, 8, tmp_path) != larger


def sources_of(plan: Path, folder: Path, method: Method, buffer: int | None) -> list[DataSource]:
    run = toy_run(plan, folder)
    return training_sources(run.recipe, run.plan.steps, method=method, buffer=buffer, folder=folder)


@pytest.mark.parametrize(
    ("method", "buffer", "weights"),
    [
        ("sequential", None, [9]),
        ("all", None, [9, 12, 10]),
        ("exp", 8, [9, 2, 4]),
        ("equal", 8, [9, 4, 4]),
        ("equal", None, [9, 6, 6]),  # as many as the first step's 12
        ("exp", 3, [9, 1]),  # the oldest step's share is below one sample
        ("equal", 100, [9, 12, 10]),  # no step has as much as its share
    ],
)
def test_data_sets_weigh_as_much_as_they_hold(
    method: Method, buffer: int | None, weights: list[int], plan: Path, tmp_path: Path
) -> None:
    sources = sources_of(plan, tmp_path, method, buffer)
    assert [source.weight for source in sources] == weights
    for source in sources:
        if source.subset:
            assert len(Subset.open(source.subset)) == source.weight


def test_every_kept_sample_is_shown_equally_often(plan: Path, tmp_path: Path) -> None:
    recipe = toy_run(plan, tmp_path).recipe
    sources = sources_of(plan, tmp_path, "equal", 8)
    loader = build_loader(recipe, build_model(recipe), sources=sources)
    assert loader.samples == 9 + 4 + 4
    # 1,024 places are one block of the deal: 17 samples share them to within a showing or two.
    shown = Counter(
        (data_set, place.shard, place.sample)
        for data_set, place in loader._plan.places(0, 1024)  # pyright: ignore[reportPrivateUsage]
    )
    assert len(shown) == 17
    assert max(shown.values()) - min(shown.values()) <= 2


def test_the_steps_have_shards_of_the_same_names(plan: Path) -> None:
    """Subsets tell shards apart by file name, so each step needs a data set of its own."""
    folders = [Path(step.shards) for step in read_plan(plan).steps]
    assert [folder.name for folder in folders] == list(NAMES)
    for folder, size in zip(folders, SIZES, strict=True):
        shards = sorted(folder.glob("*.tar"))
        assert shards[0].name == "00000.tar"
        assert sum(len(ShardIndex(shard)) for shard in shards) == size
