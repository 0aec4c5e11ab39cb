"""`zoo eval segmentation` scores pixels, records the protocol, and says what is wrong.

.venv/bin/pytest tests/zoo/test_eval_segmentation_command.py
"""

from __future__ import annotations

from pathlib import Path

import pytest
from segmentation_folders import write_voc

from zoo.cli import main
from zoo.eval.results import read_results

RANDOM = ["--weights", "none", "--device", "cpu"]


@pytest.fixture(autouse=True)
def inside_a_folder_with_voc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_voc(Path("voc"), [[0, 1, 2], [3, 255, 20]])


def run(*arguments: str) -> int:
    return main(["eval", "segmentation", *arguments])


def test_a_benchmark_gives_a_table_and_a_record_of_the_protocol(
    capsys: pytest.CaptureFixture[str],
) -> None:
    flags = ["voc21", "--data", "voc", "--template", "a {}.", *RANDOM]
    assert run(*flags, "--model", "sam-clip-tiny", "--refine", "points", "--per-class") == 0
    shown = capsys.readouterr().out
    assert "protocol 'refined' at 128 px; background: words" in shown and "iou/bird" in shown
    assert "published: miou 66.0% for sam-clip-vit-b" in shown
    assert run(*flags, "--model", "mobileclip-tiny", "--image-size", "32", "--name", "mine") == 0
    shown = capsys.readouterr().out
    assert "published" not in shown and "iou/bird" not in shown
    refined, square = read_results("results.jsonl")
    assert square["model"] == "mine" and square["dataset"] == "voc21"
    assert square["protocol"]["protocol"] == "square" and square["protocol"]["image_size"] == 32
    assert (square["protocol"]["background"], square["protocol"]["queries"]) == ("words", 46)
    assert refined["protocol"]["refinement"] == "points"
    assert refined["protocol"]["image_size"] == 128
    assert set(refined["metrics"]) >= {"miou", "pixel_accuracy", "iou/background"}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["voc2", "--data", "voc"], "did you mean voc21 or voc20"),
        (["voc21", "--data", "nowhere"], "There is no list 'nowhere/ImageSets/Segmentation"),
        (["ade20k", "--data", "voc"], "There is no folder 'voc/images/validation'"),
        (["voc21", "--data", "voc", "--split", "test"], "no split 'test'"),
        (["voc20", "--data", "voc", "--background", "name"], "voc20 has no background class"),
        (["voc21", "--data", "voc", "--refine", "points"], "mobileclip-tiny has no mask decoder"),
    ],
)
def test_what_is_wrong_is_one_sentence(
    arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*arguments, "--template", "a {}.", "--model", "mobileclip-tiny", *RANDOM) == 2
    error = capsys.readouterr().err
    assert sentence in error and error.count("\n") == 1
    assert not Path("results.jsonl").exists()
