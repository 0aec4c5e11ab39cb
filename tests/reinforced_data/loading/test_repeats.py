"""Weights become whole numbers of showings, in passes of one length, right on average.

.venv/bin/pytest tests/reinforced_data/loading/test_repeats.py
"""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoo.reinforced_data.loading.plan import SamplePlan
from zoo.reinforced_data.loading.repeats import Repeats

Weights = list[list[float]]
WEIGHTS = st.lists(
    st.lists(st.floats(1 / 64, 4, width=32), max_size=6), min_size=1, max_size=5
).filter(any)


def make_plan(weights: Weights, window: int = 2) -> SamplePlan:
    arrays = [np.array(of_shard, np.float32) for of_shard in weights]
    repeats = Repeats(lambda shard: arrays[shard], len(arrays), 0)
    return SamplePlan([len(array) for array in arrays], 0, window=window, repeats=repeats)


def shown(plan: SamplePlan, epoch: int) -> Counter[tuple[int, int]]:
    places = plan.places(epoch * len(plan), (epoch + 1) * len(plan))
    assert {place.epoch for place in places} == {epoch}
    assert len(set(places)) == len(plan)  # copies are told apart
    return Counter((place.shard, place.sample) for place in places)


@given(WEIGHTS, st.integers(0, 5))
def test_a_weight_is_rounded_down_or_up_in_every_pass(weights: Weights, epoch: int) -> None:
    plan = make_plan(weights)
    counts = shown(plan, epoch)
    for shard, of_shard in enumerate(weights):
        for sample, weight in enumerate(of_shard):
            assert math.floor(weight) <= counts[shard, sample] <= math.ceil(weight)
    assert counts.total() == len(plan)
    fractions = sum(weight % 1 for of_shard in weights for weight in of_shard)
    assert len(plan) <= sum(map(sum, weights)) + 1e-5 or fractions < 1


@given(WEIGHTS)
def test_copies_are_counted_from_nought(weights: Weights) -> None:
    plan = make_plan(weights)
    copies: dict[tuple[int, int], list[int]] = {}
    for place in plan.places(0, len(plan)):
        copies.setdefault((place.shard, place.sample), []).append(place.copy)
    assert all(sorted(found) == list(range(len(found))) for found in copies.values())


def test_whole_weights_are_exact() -> None:
    counts = shown(make_plan([[1, 3], [], [2, 1]]), 7)
    assert counts == {(0, 0): 1, (0, 1): 3, (2, 0): 2, (2, 1): 1}


def test_over_many_passes_each_weight_is_met() -> None:
    weights = [[0.25, 1.5, 2.75, 1.0], [0.5, 0.5, 0.5], [1.75, 0.25, 3.0]]  # fractions: 5
    plan = make_plan(weights)
    total: Counter[tuple[int, int]] = Counter()
    for epoch in range(800):
        total += shown(plan, epoch)
    assert len(plan) == 12
    for shard, of_shard in enumerate(weights):
        for sample, weight in enumerate(of_shard):
            # Five standard deviations of a coin at most.
            assert total[shard, sample] / 800 == pytest.approx(weight, abs=0.09)


def test_samples_of_equal_weight_meet_in_other_company_each_pass() -> None:
    plan = make_plan([[0.5] * 8])
    together = {frozenset(sample for _, sample in shown(plan, epoch)) for epoch in range(40)}
    assert len(plan) == 4
    assert len(together) > 15  # without shuffling the line there are two halves, for ever


def test_a_few_rare_samples_still_give_one_showing() -> None:
    plan = make_plan([[0.1, 0.2], [0.1]])
    assert len(plan) == 1
    seen = Counter(place.shard for place in plan.places(0, 400))
    assert 55 < seen[1] < 145  # a quarter of 400
