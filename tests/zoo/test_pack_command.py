"""From a folder of pictures to a fine-tuned model, by the commands alone.

.venv/bin/pytest tests/zoo/test_pack_command.py
"""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_shards import jpeg

from zoo.cli import main
from zoo.models.load import load_model

RUN = ["--model", "mobileclip-tiny", "--batch-size", "4", "--samples-seen", "8"]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with pictures of two classes."""
    monkeypatch.chdir(tmp_path)
    for number in range(8):
        path = Path("pictures") / ("cat", "dog")[number % 2] / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(jpeg(number))
    return tmp_path


def zoo(*arguments: str | Path) -> int:
    return main([str(argument) for argument in arguments])


def test_a_folder_of_pictures_fine_tunes_a_model_and_goes_half_the_way_back(
    here: Path, weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = (*RUN, "--init", weights, "--warmup-samples", "0", "--data", "pictures")
    assert zoo("train", "fine-tune", *run, "--output", "run") == 0
    assert len(list(Path("cache/packed").glob("*/*.tar"))) == 1
    lora = ("--task", "classification", "--fine-tuning.towers", "image", "--output", "lora")
    assert zoo("train", "fine-tune-lora", *run, *lora) == 0
    assert len(list(Path("cache/packed").iterdir())) == 1
    ends = (weights, "lora/weights.safetensors")
    assert zoo("interpolate", *ends, "--alpha", "0.25", "0.5", "--output", "way.safetensors") == 0
    for name in ("run/weights", "lora/weights", "way-0.25", "way-0.5"):
        load_model("mobileclip-tiny", weights=f"{name}.safetensors")
    assert "wrote way-0.25.safetensors, 0.25 of the way" in capsys.readouterr().out


def test_pack_writes_shards_that_evaluate(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert zoo("data", "pack", "pictures", "shards", "--samples-per-shard", "5") == 0
    assert "wrote 2 shards to shards\nwrote the names of 2 classes" in capsys.readouterr().out
    again = ("data", "pack", "shards", "captioned", "--template", "a {}", "--template", "the {}")
    assert zoo(*again) == 0
    tiny = ("--model", "mobileclip-tiny", "--weights", "none")
    assert zoo("eval", "captioned", *tiny, "--class-names", "captioned/classnames.txt") == 0


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ("data pack pictures shards --template photo", "has no place for the name"),
        ("data pack nothing shards", "No shard is named or matched by 'nothing'"),
        ("interpolate a.safetensors b.safetensors --output c.safetensors", "No weights at"),
        ("train fine-tune --data empty", "The folder empty holds no *.tar file and no picture"),
    ],
)
def test_a_mistake_is_one_sentence(
    arguments: str, sentence: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("empty").mkdir()
    assert main(arguments.split()) == 2
    error = capsys.readouterr().err
    assert error.startswith("zoo: ") and sentence in error and error.count("\n") == 1
