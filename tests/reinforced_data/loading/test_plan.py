"""The plan shows every sample once a pass, however it is cut into batches, ranks and windows.

.venv/bin/pytest tests/reinforced_data/loading/test_plan.py
"""

from __future__ import annotations

import time
import tracemalloc
from collections import Counter
from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from zoo.reinforced_data.loading.plan import Place, SamplePlan

SIZES = st.lists(st.integers(0, 7), min_size=1, max_size=9).filter(any)
WINDOWS = st.integers(1, 12)


def of_pass(plan: SamplePlan, epoch: int) -> list[Place]:
    return plan.places(epoch * len(plan), (epoch + 1) * len(plan))


@given(SIZES, WINDOWS, st.integers(0, 3))
def test_a_pass_shows_every_sample_once(sizes: list[int], window: int, epoch: int) -> None:
    places = of_pass(SamplePlan(sizes, 0, window=window), epoch)
    everything = {(shard, i) for shard, size in enumerate(sizes) for i in range(size)}
    assert {(place.shard, place.sample) for place in places} == everything
    assert len(places) == len(everything)
    assert {(place.epoch, place.copy) for place in places} == {(epoch, 0)}


@given(SIZES, WINDOWS, st.data())
def test_any_cut_of_the_sequence_gives_the_same_places(
    sizes: list[int], window: int, data: st.DataObject
) -> None:
    whole = SamplePlan(sizes, 0, window=window).places(0, 3 * sum(sizes))
    marks = data.draw(st.lists(st.integers(0, len(whole)), max_size=6))
    cuts = [0, *sorted(marks), len(whole)]
    plan = SamplePlan(sizes, 0, window=window)
    parts = [plan.places(start, stop) for start, stop in pairwise(cuts)]
    assert [place for part in parts for place in part] == whole
    backwards = [plan.places(start, stop) for start, stop in reversed(list(pairwise(cuts)))]
    assert backwards[::-1] == parts


def test_a_window_mixes_its_shards_and_no_others() -> None:
    plan = SamplePlan([50] * 6, 0, window=2)
    shards = [place.shard for place in of_pass(plan, 0)]
    windows = [set(shards[start : start + 100]) for start in (0, 100, 200)]
    assert [len(window) for window in windows] == [2, 2, 2]
    assert set.union(*windows) == set(range(6))
    assert sum(a != b for a, b in pairwise(shards[:100])) > 30  # one after the other gives 1


def test_shards_and_samples_have_another_order_in_every_pass() -> None:
    plan = SamplePlan([3] * 40, 0, window=8)
    passes = [of_pass(plan, epoch) for epoch in range(4)]
    windows = {frozenset(place.shard for place in places[:24]) for places in passes}
    orders = {tuple(place[1:3] for place in places) for places in passes}
    assert len(windows) == len(orders) == 4
    one_shard = SamplePlan([30], 0)
    assert len({tuple(p.sample for p in of_pass(one_shard, epoch)) for epoch in range(4)}) == 4


def test_the_key_decides_the_order() -> None:
    first, again, other = (SamplePlan([5] * 9, *key) for key in ((1, "a"), (1, "a"), (2, "a")))
    assert of_pass(first, 3) == of_pass(again, 3) != of_pass(other, 3)


def test_every_sample_comes_early_as_often_as_late() -> None:
    plan = SamplePlan([4] * 8, 0, window=3)
    early = Counter(
        (p.shard, p.sample) for epoch in range(600) for p in of_pass(plan, epoch)[: len(plan) // 2]
    )
    assert len(early) == 32
    assert max(abs(count - 300) for count in early.values()) < 70  # 5.7 standard deviations


def test_a_billion_samples_need_the_memory_of_a_window() -> None:
    tracemalloc.start()
    start = time.perf_counter()
    plan = SamplePlan(np.full(65_536, 20_000), 0)
    far = 5 * len(plan) + 999_900_000
    places = plan.places(far, far + 256)
    seconds, (_, peak) = time.perf_counter() - start, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(plan) == 1_310_720_000
    assert {place.epoch for place in places} == {5} and len(set(places)) == 256
    assert len({place.shard for place in places}) == 16
    assert peak < 64e6 and seconds < 5  # 28 MB and 0.1 s on one core
