"""Learning efficiency counts the samples until an accuracy is reached, for both kinds alike.

Run: pytest tests/zoo/test_bench_efficiency.py
"""

from __future__ import annotations

from zoo.commands.bench_efficiency import compare_runs

PLAIN = [(100, 0.1), (200, 0.3), (300, 0.2), (400, 0.3)]


def test_the_samples_of_both_kinds_of_runs_are_compared_at_the_longest_plain_one_s_accuracy() -> (
    None
):
    row = compare_runs(0, PLAIN, [(100, 0.2), (200, 0.4), (300, 0.5)])
    assert (row.plain_accuracy, row.reinforced_accuracy) == (0.3, 0.5)
    assert (row.plain_samples, row.plain_first_samples) == (400, 200)
    assert row.reinforced_samples == 150
    assert (row.ratio, row.ratio_to_first) == (400 / 150, 200 / 150)


def test_an_accuracy_that_is_never_reached_is_no_gain() -> None:
    row = compare_runs(0, PLAIN, [(100, 0.1), (200, 0.2)])
    assert row.reinforced_samples is None
    assert (row.ratio, row.ratio_to_first) == (0, 0)


def test_a_shortest_run_that_is_better_already_counts_with_all_its_samples() -> None:
    assert compare_runs(0, PLAIN, [(100, 0.9)]).ratio == 4
