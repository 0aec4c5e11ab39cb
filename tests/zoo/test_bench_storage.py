"""`zoo bench storage`: table, JSON lines, and the goals for the quality of int8.

.venv/bin/pytest tests/zoo/test_bench_storage.py
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from tiny_shards import make_samples

from zoo.cli import main
from zoo.commands.storage_quality import measure_quality
from zoo.reinforced_data.shards.write import write_shards


def test_the_command_prints_the_table_and_appends_every_figure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_shards(make_samples(4), tmp_path / "shards")
    results = tmp_path / "results.jsonl"
    command = ["bench", "storage", "--shards", str(tmp_path / "shards"), "--rounds", "1"]
    command += ["--picks", "5", "--batch-size", "16", "--results", str(results)]
    assert main(command) == 0
    said = capsys.readouterr().out
    assert "sidecar, int8" in said and "Apple, pth.gz bf16" in said
    records = [json.loads(line) for line in results.read_text().splitlines()]
    assert len(records) == 3 + 2 * 3
    assert records[0]["protocol"] == {"samples": 4, "rounds": 1, "picks": 5}
    assert records[0]["metrics"]["embedding_bytes"] == 2 * 16 * 770


def test_int8_keeps_the_direction_of_the_distillation_gradient() -> None:
    state = torch.get_rng_state()
    rows = {(row.storage, row.student): row for row in measure_quality(256)}
    assert torch.equal(torch.get_rng_state(), state)
    for student in ("untrained", "trained"):
        int8, bf16, fp16 = (rows[name, student] for name in ("int8", "bf16", "fp16"))
        assert int8.gradient_cosine >= 0.9999
        assert fp16.gradient_error < bf16.gradient_error < int8.gradient_error < 0.01
        assert 0 <= fp16.divergence < bf16.divergence < int8.divergence < 1e-3
        assert int8.target_entropy > 0.1
