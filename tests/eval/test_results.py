"""Results: every figure carries its provenance, and a result file never loses or mixes lines.

.venv/bin/pytest tests/eval/test_results.py
"""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from zoo.eval.results import append_result, read_results, result_record
from zoo.models.checkpoint import weights_sha256


def record(**changes: Any) -> dict[str, Any]:
    made = result_record(
        model="mobileclip-tiny",
        dataset="scenes",
        protocol={"task": "zeroshot_classification"},
        metrics={"acc1": 0.25},
        units={"acc1": "fraction"},
    )
    return made | changes


def test_a_record_says_what_ran_where_with_which_versions() -> None:
    made = record()
    assert made["machine"]["cores"] == os.cpu_count()
    assert made["versions"]["torch"] == torch.__version__.partition("+")[0]
    assert made["command"] and made["time"].endswith("+00:00")


def test_what_is_appended_is_read_back_in_order(tmp_path: Path) -> None:
    path = tmp_path / "run" / "results.jsonl"
    records = [record(model=name) for name in ("größer", 'quo"ted\nline')]
    for one in records:
        append_result(path, one)
    assert read_results(path) == records


def test_writers_that_share_a_file_never_mix_their_lines(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"

    def append_many(writer: int) -> None:
        for index in range(25):
            append_result(path, record(model=f"{writer}-{index}"))

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(append_many, range(2)))
    expected = {f"{writer}-{index}" for writer in range(2) for index in range(25)}
    assert {one["model"] for one in read_results(path)} == expected


def test_a_torn_line_is_named_and_costs_no_other_line(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    append_result(path, record())
    path.write_bytes(path.read_bytes() + b'{"time": "20')
    append_result(path, record(model="after"))
    with pytest.raises(ValueError, match=r"results\.jsonl, line 2 is not JSON"):
        read_results(path)
    assert json.loads(path.read_text().splitlines()[2])["model"] == "after"


@pytest.mark.parametrize("missing", ["machine", "weights_sha256", "units"])
def test_a_record_without_provenance_is_refused(tmp_path: Path, missing: str) -> None:
    incomplete = record()
    del incomplete[missing]
    with pytest.raises(ValueError, match=missing):
        append_result(tmp_path / "results.jsonl", incomplete)


def test_a_metric_without_unit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'acc5' has no unit"):
        append_result(tmp_path / "results.jsonl", record(metrics={"acc1": 0.1, "acc5": 0.5}))


def test_a_figure_that_is_not_a_number_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    with pytest.raises(ValueError, match="mobileclip-tiny cannot be written"):
        append_result(path, record(metrics={"acc1": float("nan")}))
    assert not path.exists()


def test_a_line_that_does_not_fit_is_taken_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "results.jsonl"
    append_result(path, record())
    write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: write(descriptor, data[:10]))
    with pytest.raises(OSError, match="is the disk full"):
        append_result(path, record())
    assert len(read_results(path)) == 1


def test_a_missing_file_is_one_clear_sentence(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="does not exist"):
        read_results(tmp_path / "none.jsonl")


def test_the_weights_hash_follows_the_values_and_nothing_else() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    twin = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    twin.load_state_dict(model.state_dict())
    assert weights_sha256(twin) == weights_sha256(model)
    assert weights_sha256(twin.bfloat16()) != weights_sha256(model)
    with torch.no_grad():
        next(model.parameters())[0, 0] += 1e-6
    assert weights_sha256(twin.float()) != weights_sha256(model)
