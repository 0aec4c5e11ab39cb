"""`zoo data check`, `repair`, `show` and `stats` say what they found and end with the right code.

.venv/bin/pytest tests/zoo/test_data_inspect.py
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image
from reinforced_shards import add_sidecar
from tiny_shards import make_samples

from zoo.cli import main
from zoo.reinforced_data.shards.write import write_shards


@pytest.fixture
def shards(tmp_path: Path) -> list[Path]:
    paths = write_shards(make_samples(), tmp_path / "shards", samples_per_shard=6)
    for path in paths:
        add_sidecar(path)
    return paths


def spoil(shard: Path) -> None:
    """A picture's header, and a caption."""
    content = bytearray(shard.read_bytes())
    content[content.index(b"photo001.jpg")] ^= 0xFF
    shard.write_bytes(bytes(content).replace(b"thing number 4", b"thing number 5"))


def test_sound_shards_end_with_zero(shards: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "check", str(shards[0].parent)]) == 0
    output = capsys.readouterr().out.split()
    assert output[-4:] == ["2", "2", "11", "nothing"]


def test_what_is_found_is_printed_and_ends_with_one(
    shards: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    spoil(shards[0])
    with pytest.raises(SystemExit) as stopped:
        main(["data", "check", str(shards[0].parent)])
    assert stopped.value.code == 1
    output = capsys.readouterr().out
    lines = [line for line in output.splitlines() if str(shards[0].parent) in line]
    assert len(lines) == 3
    assert "`zoo data repair` writes a sound copy." in lines[0]
    assert "'photo001'" in lines[1]
    assert "sample: 1, sidecar: 1, tar: 1" in output


def test_a_repaired_folder_passes_the_check(
    shards: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spoil(shards[0])
    output = tmp_path / "repaired"
    assert main(["data", "repair", str(shards[0].parent), "--output", str(output)]) == 0
    printed = capsys.readouterr().out
    assert "'photo001'" in printed
    assert "changes: 2" in printed
    assert "as it was" in printed
    assert main(["data", "check", str(output)]) == 0
    assert (output / shards[1].name).read_bytes() == shards[1].read_bytes()


def test_repair_refuses_the_folder_of_the_shards(
    shards: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = str(shards[0].parent)
    assert main(["data", "repair", folder, "--output", folder]) == 2
    assert "is the folder of the shards" in capsys.readouterr().err


def test_a_sheet_is_drawn(
    shards: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sheet = tmp_path / "sheet.png"
    flags = ["--key", "photo003", "--key", "photo001", "--output", str(sheet)]
    assert main(["data", "show", str(shards[0]), *flags]) == 0
    assert "photo003, photo001" in capsys.readouterr().out
    with Image.open(sheet) as picture:
        assert picture.width > 1000


def test_statistics_are_printed_written_and_drawn(
    shards: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    figures, plot = tmp_path / "stats.json", tmp_path / "stats.png"
    flags = ["--output", str(figures), "--plot", str(plot)]
    assert main(["data", "stats", str(shards[0].parent), *flags]) == 0
    output = capsys.readouterr().out
    for words in ("11 of them reinforced", "image embeddings", "ground truth", "owl.tiny"):
        assert words in output
    content = json.loads(figures.read_text())
    assert (content["samples"], content["reinforced"]) == (11, 11)
    assert content["similarity"]["sage"]["synthetic"]["count"] == 11 * 3 * 2
    assert plot.stat().st_size > 10_000


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["check", "nowhere"], "No shard is named or matched"),
        (["check", "s3://bucket/0.tar"], "is a URL"),
        (["check", "{shard}", "--workers", "-1"], "workers is -1"),
        (["show", "nowhere.tar"], "There is no shard nowhere.tar"),
        (["show", "{shard}", "--key", "cat"], "no sample 'cat'"),
        (["stats", "nowhere"], "No shard is named or matched"),
        (["show", "{shard}", "--output", "/no/such/folder/sheet.png"], "/no/such/folder"),
    ],
)
def test_bad_input_is_one_sentence(
    shards: list[Path],
    arguments: list[str],
    problem: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    filled = [argument.format(shard=shards[0]) for argument in arguments]
    assert main(["data", *filled]) == 2
    error = capsys.readouterr().err
    assert problem in error
    assert error.count("\n") == 1
