"""Passes show what the weights say, and with grouping batches hold samples of like length.

.venv/bin/pytest tests/reinforced_data/conversations/test_conversation_order.py
"""

from collections import Counter

import numpy as np
import pytest

from zoo.reinforced_data.conversations.order import ConversationOrder, LengthGrouping

Row = tuple[int, int]


def passes(order: ConversationOrder, count: int) -> list[list[Row]]:
    n = len(order)
    return [order.rows(i * n, (i + 1) * n) for i in range(count)]


def grouping(batch: int, sizes: tuple[int, ...] = (300, 90)) -> LengthGrouping:
    """The first source has pictures, the second has none."""
    lengths = np.random.default_rng(0).integers(1, 10_000, sum(sizes))
    return LengthGrouping(lengths, np.arange(sum(sizes)) < sizes[0], batch)


def test_a_pass_shows_every_sample_once_in_another_order_each_time() -> None:
    first, second = passes(ConversationOrder([7, 4], [1, 1], seed=0), 2)
    everything = [(0, row) for row in range(7)] + [(1, row) for row in range(4)]
    assert sorted(first) == sorted(second) == everything
    assert first != second
    assert passes(ConversationOrder([7, 4], [1, 1], seed=0), 1) == [first]
    assert passes(ConversationOrder([7, 4], [1, 1], seed=1), 1) != [first]


@pytest.mark.parametrize("weight", [0.3, 2, 2.5, 0.01])
def test_a_weight_shows_its_share_and_all_samples_alike(weight: float) -> None:
    order = ConversationOrder([10, 20], [1, weight], seed=0)
    shown = max(1, round(20 * weight))
    assert len(order) == 10 + shown
    counts: Counter[Row] = Counter()
    for one in passes(order, 10):
        assert Counter(source for source, _ in one) == {0: 10, 1: shown}
        counts.update(one)
        times = [counts[1, row] for row in range(20)]
        assert max(times) - min(times) <= 1


@pytest.mark.parametrize("batch", [1, 4, 7, 64, 380, 390])
def test_grouping_shows_every_sample_once_a_pass(batch: int) -> None:
    order = ConversationOrder([300, 90], [1, 1], seed=0, grouping=grouping(batch))
    everything = [(0, row) for row in range(300)] + [(1, row) for row in range(90)]
    for one in passes(order, 4):
        assert sorted(one) == everything


def test_grouped_batches_are_of_one_kind_but_for_a_few_at_the_seams() -> None:
    order = ConversationOrder([300, 90], [1, 1], seed=0, grouping=grouping(7))
    batches = [order.rows(i * 7, (i + 1) * 7) for i in range(4 * 390 // 7)]
    mixed = [number for number, rows in enumerate(batches) if len({s for s, _ in rows}) > 1]
    assert len(mixed) <= 2 * 4
    assert all(min(abs(number * 7 - seam * 390) for seam in range(5)) < 14 for number in mixed)


def test_grouped_batches_hold_like_lengths_in_random_turn() -> None:
    groups = grouping(4, (512, 0))
    order = ConversationOrder([512], [1], seed=0, grouping=groups)
    rows = [row for _, row in order.rows(0, 512)]
    lengths = np.random.default_rng(0).integers(1, 10_000, 512)[rows].reshape(-1, 4)
    assert np.all(np.diff(lengths) <= 0)  # the longest first
    assert np.mean(lengths[:, 0] - lengths[:, -1]) < 600  # of 6,000 in a random batch of four
    assert 0.3 < np.mean(np.diff(lengths[:, 0]) < 0) < 0.7


def test_places_depend_on_nothing_asked_before() -> None:
    order = ConversationOrder([300, 90], [1, 0.5], seed=0, grouping=grouping(8))
    sequence = order.rows(0, 1000)
    again = ConversationOrder([300, 90], [1, 0.5], seed=0, grouping=grouping(8))
    assert again.rows(700, 900) == sequence[700:900]
    assert again.rows(100, 101) == sequence[100:101]
