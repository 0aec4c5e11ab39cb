"""The cost of reinforcement is that of kinds with as many captions, wait and step apart.

Run: pytest tests/training/benchmarks/test_reinforcement_benchmark.py
"""

from __future__ import annotations

from pathlib import Path

from reinforced_shards import add_sidecar
from tiny_shards import make_samples

from zoo.reinforced_data.shards.write import write_shards
from zoo.training.benchmarks.reinforcement import (
    KINDS,
    ReinforcementSetting,
    measure_reinforcement,
)


def test_every_kind_is_compared_with_one_that_has_as_many_captions(tmp_path: Path) -> None:
    for shard in write_shards(make_samples(), tmp_path):
        add_sidecar(shard)
    setting = ReinforcementSetting(
        model="mobileclip-tiny",
        shards=tmp_path,
        sidecars=tmp_path,
        batch_size=4,
        workers=0,
        pixels="fast",
        device="cpu",
    )
    rows = measure_reinforcement(setting, rounds=1, on_round=lambda done, total: None)
    assert [row.kind for row in rows] == list(KINDS)
    assert all(row.wait_seconds > 0 and row.step_seconds > 0 for row in rows)
    assert [row.ratio == 1.0 for row in rows] == [True, False, True, False]
    for row in rows:
        assert row.kind.split(", ")[1] == row.compared_with.split(", ")[1]
        assert row.compared_with.startswith("plain")
