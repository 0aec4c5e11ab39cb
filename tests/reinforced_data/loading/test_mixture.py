"""Several data sets are dealt in exact proportions, each through its own passes.

.venv/bin/pytest tests/reinforced_data/loading/test_mixture.py
"""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zoo.reinforced_data.loading.mixture import Mixture
from zoo.reinforced_data.loading.plan import SamplePlan

WEIGHTS = st.lists(st.floats(0.01, 10), min_size=1, max_size=4)
BLOCK = 1024


def plans(count: int) -> list[SamplePlan]:
    return [SamplePlan([300 + i, 400], 0, i) for i in range(count)]


@settings(max_examples=30, deadline=None)
@given(WEIGHTS, st.integers(1, 40))
def test_after_whole_blocks_every_share_is_exact_up_to_one(
    weights: list[float], blocks: int
) -> None:
    mixture = Mixture(plans(len(weights)), weights, 0)
    block = max(BLOCK, -(-sum(weights) // min(weights)))
    places = int(block) * blocks
    dealt: Counter[int] = Counter()
    for start in range(0, places, 5000):
        dealt.update(d for d, _ in mixture.places(start, min(start + 5000, places)))
    for data_set, weight in enumerate(weights):
        assert abs(dealt[data_set] - places * weight / sum(weights)) <= 1 + 1e-6


@settings(max_examples=30, deadline=None)
@given(WEIGHTS)
def test_each_data_set_walks_through_its_own_sequence(weights: list[float]) -> None:
    mixture = Mixture(plans(len(weights)), weights, 0)
    found = mixture.places(0, 2500)
    for data_set, plan in enumerate(plans(len(weights))):
        own = [place for d, place in found if d == data_set]
        assert own == plan.places(0, len(own))


@settings(max_examples=30, deadline=None)
@given(WEIGHTS, st.lists(st.integers(0, 3000), max_size=6))
def test_any_cut_gives_the_same_places(weights: list[float], marks: list[int]) -> None:
    whole = Mixture(plans(len(weights)), weights, 0).places(0, 3000)
    mixture = Mixture(plans(len(weights)), weights, 0)
    cuts = pairwise([0, *sorted(marks), 3000])
    assert [one for start, stop in cuts for one in mixture.places(start, stop)] == whole


def test_the_deal_is_mixed_and_the_seed_decides_it() -> None:
    def deal(seed: int) -> list[int]:
        return [d for d, _ in Mixture(plans(2), [1, 3], seed).places(0, BLOCK)]

    assert deal(0) == deal(0) != deal(1)
    assert Counter(deal(0)) == {0: 256, 1: 768}
    assert Counter(deal(0)[:256])[0] == pytest.approx(64, abs=30)


@pytest.mark.parametrize("weights", [[1, 0], [1, -2], [1, float("inf")], [1, float("nan")]])
def test_a_weight_that_is_no_share_is_refused(weights: list[float]) -> None:
    with pytest.raises(ValueError, match="give each above 0"):
        Mixture(plans(2), weights, 0)


def test_a_share_too_small_to_deal_is_refused() -> None:
    with pytest.raises(ValueError, match="more than a millionth"):
        Mixture(plans(2), [1, 1e-9], 0)
