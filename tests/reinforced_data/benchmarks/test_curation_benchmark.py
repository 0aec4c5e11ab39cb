"""The benchmark's embeddings hold the twins that it says, and deduplication breaks them up.

.venv/bin/pytest tests/reinforced_data/benchmarks/test_curation_benchmark.py
"""

from pathlib import Path

from zoo.reinforced_data.benchmarks.curation import compare_with_direct, make_sidecars, measure


def test_a_run_reports_what_it_dropped_and_what_it_took(tmp_path: Path) -> None:
    make_sidecars(tmp_path, 2_000)
    row = measure("dedup", tmp_path)
    assert (row.task, row.samples) == ("dedup", 2_000)
    assert row.recall is not None and row.recall > 0.95
    assert row.precision == 1
    assert 1_600 <= row.kept < 1_620
    assert row.seconds > 0 and row.cpu_seconds > 0 and row.peak_bytes > 1e6


def test_the_peer_is_timed_beside_it() -> None:
    assert min(compare_with_direct(50, rounds=1)) > 0
