"""The loader's benchmark times every pipeline, on sidecars that the loader takes.

.venv/bin/pytest tests/reinforced_data/benchmarks/test_loader_bench.py
"""

from __future__ import annotations

import sys
from pathlib import Path

import open_clip_train
import pytest
from tiny_shards import make_samples

from zoo.reinforced_data.benchmarks.loader import (
    PEER,
    LoaderSetting,
    measure_loader,
    photographs,
    write_sidecars,
)
from zoo.reinforced_data.shards.write import write_shards


@pytest.fixture
def setting(tmp_path: Path) -> LoaderSetting:
    write_shards(make_samples(8), tmp_path / "photos", samples_per_shard=4)
    shards = photographs([str(tmp_path / "photos")])
    (tmp_path / "sidecars").mkdir()
    write_sidecars(shards, tmp_path / "sidecars")
    return LoaderSetting(
        shards=shards, sidecars=tmp_path / "sidecars", image_size=32, batch_size=4, workers=0
    )


def test_every_pipeline_gives_a_speed_and_its_ratio(setting: LoaderSetting) -> None:
    rounds: list[tuple[int, int]] = []
    rows = measure_loader(setting, rounds=2, batches=1, on_round=lambda *done: rounds.append(done))
    assert rounds == [(0, 2), (1, 2), (2, 2)]
    assert rows[0].pipeline == PEER and len(rows) == 5
    assert rows[0].wall_ratio == rows[0].cpu_ratio == 1
    for row in rows:
        assert 0 < row.wall_lowest <= row.wall_speed <= row.wall_highest
        assert row.cpu_speed and row.cpu_ratio


def test_without_pandas_the_peer_says_so(
    setting: LoaderSetting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    monkeypatch.delitem(sys.modules, "open_clip_train.data", raising=False)
    monkeypatch.delattr(open_clip_train, "data", raising=False)
    with pytest.raises(ValueError, match=r"pandas.*install pandas"):
        measure_loader(setting, rounds=1, batches=1)


def test_shards_of_one_name_are_refused(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        write_shards(make_samples(1), tmp_path / folder)
    with pytest.raises(ValueError, match="same file name"):
        photographs([str(tmp_path / "a"), str(tmp_path / "b")])
