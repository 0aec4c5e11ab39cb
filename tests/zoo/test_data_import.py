"""`zoo data import`: Apple's reinforced data become sidecars from the command line.

.venv/bin/pytest tests/zoo/test_data_import.py
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from apple_shards import apple_samples, write_tar, write_teachers

from zoo.cli import main
from zoo.reinforced_data.sidecars.sidecar import Sidecar


def test_image_shards_and_apples_shards_are_joined_from_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    samples = apple_samples(3)
    write_tar(tmp_path / "apple/00000.tar", samples[1:], without=("jpg", "txt"))
    write_tar(tmp_path / "images/00000.tar", samples, without=("npz", "paug.json", "syn.json"))
    command = ["data", "import", str(tmp_path / "images"), "--from", str(tmp_path / "apple")]
    command += [
        "--set",
        str(write_teachers(tmp_path / "set.json")),
        "--storage",
        "fp32",
        "--output",
        str(tmp_path / "out"),
    ]
    assert main(command) == 0
    said = capsys.readouterr().out
    assert f"not valid: Sample '{samples[0]['__key__']}'" in said
    assert "wrote 1 sidecars (3 samples, 1 of them not valid)" in said
    sidecar = Sidecar.open(tmp_path / "out/00000.reinforced.safetensors")
    expected = samples[2]["npz"]["image_emb"][1, :24]
    assert np.array_equal(sidecar.image_embedding("first", 2, 1), expected)

    assert main(command) == 0
    assert "kept 1 finished ones" in capsys.readouterr().out


def test_a_set_that_does_not_fit_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shard = write_tar(tmp_path / "00000.tar", apple_samples(1))
    assert main(["data", "import", str(shard)]) == 2
    said = capsys.readouterr().err
    assert "image embeddings of 32 numbers, but the teachers make 1536" in said
    assert main(["data", "import", str(shard), "--set", "dfn"]) == 2
    assert "give datacompdr, dfndr or a JSON file" in capsys.readouterr().err
