"""`zoo bench ttft`: its tables, its JSON lines, and what it says of wrong input.

.venv/bin/pytest tests/zoo/test_bench_ttft.py
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from zoo.cli import main


def test_the_command_prints_both_quantities_and_appends_every_row(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = tmp_path / "results.jsonl"
    command = ["bench", "ttft", "--models", "fastvlm-tiny", "--image-sizes", "192"]
    command += ["--peers", "transformers", "--rounds", "1", "--results", str(results)]
    assert main(command) == 0
    said = capsys.readouterr().out
    assert "ttft_paper ms" in said and "ttft_e2e ms" in said
    assert "transformers FastVLM" in said
    records = [json.loads(line) for line in results.read_text().splitlines()]
    assert [record["protocol"]["dtype"] for record in records] == ["float32", "float32", "int8"]
    for record in records:
        assert record["protocol"]["visual_tokens"] == 9
        assert record["protocol"]["device"] == "cpu"
        assert record["metrics"]["ttft_e2e_p50_ms"] > record["metrics"]["vision_p50_ms"] > 0


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--models", "mobileclip-tiny"], "mobileclip-tiny"),
        (["--image-sizes", "200"], "multiple of 64"),
        (["--devices", "tpu"], "tpu"),
        (["--rounds", "0"], "rounds=0"),
    ],
)
def test_wrong_input_is_answered_in_a_sentence(
    flags: list[str], sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["bench", "ttft", "--models", "fastvlm-tiny", "--image-sizes", "192", "--peers"]
    assert main([*command, "--results", str(tmp_path / "results.jsonl"), *flags]) == 2
    assert sentence in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
