"""Learning efficiency counts the samples until an accuracy is reached, for both kinds alike.

Run: pytest tests/zoo/test_bench_efficiency.py
"""

from __future__ import annotations

from zoo.commands.bench_efficiency import compare_runs

PLAIN = [(100, 0.1), (200, 0.3), (300, 0.2), (400, 0.3)]


def test_the_plain_run_counts_until_it_first_had_its_final_accuracy() -> None:
    row = compare_runs(0, PLAIN, [(100, 0.2), (200, 0.4), (300, 0.5)])
    assert (row.plain_accuracy, row.reinforced_accuracy) == (0.3, 0.5)
    assert (row.plain_samples, row.reinforced_samples) == (200, 150)
    assert row.ratio == 200 / 150


def test_an_accuracy_that_is_never_reached_is_no_gain() -> None:
    row = compare_runs(0, PLAIN, [(100, 0.1), (200, 0.2)])
    assert row.reinforced_samples is None
    assert row.ratio == 0


def test_a_run_that_begins_above_it_gets_no_more_than_its_first_evaluation() -> None:
    assert compare_runs(0, PLAIN, [(100, 0.9)]).ratio == 2
