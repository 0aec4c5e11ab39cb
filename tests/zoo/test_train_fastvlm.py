"""`zoo train` teaches a vision-language model from files, evaluates it, and refuses what is wrong.

Run: pytest tests/zoo/test_train_fastvlm.py
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tiny_conversations import records, write_images, write_json

from zoo import load_model
from zoo.cli import main

SETTING = "--vision-language."
RUN = [
    *("--model", "fastvlm-tiny", "--precision", "float32", f"{SETTING}image-size", "64"),
    *("--batch-size", "4", "--samples-seen", "8", "--warmup-samples", "0", "--workers", "0"),
    *(f"{SETTING}language-model", "None", "--data", "data.json", f"{SETTING}images", "images"),
]


@pytest.fixture(autouse=True)
def inside_a_folder_with_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_images(tmp_path / "images")
    write_json(tmp_path / "data.json", records(8))


def test_two_stages_follow_each_other_and_are_evaluated(capsys: pytest.CaptureFixture[str]) -> None:
    first = ["--output", "one", "--validation", "data.json"]
    assert main(["train", "fastvlm-stage1", *RUN, *first]) == 0
    second = ["--output", "two", "--init", "one/weights.safetensors"]
    assert main(["train", "fastvlm-stage2", *RUN, *second]) == 0
    last = json.loads(Path("one/metrics.jsonl").read_text().splitlines()[-1])
    assert 0 <= last["eval.accuracy"] <= 1 and "eval.majority" in last
    model = load_model("fastvlm-tiny", weights="two")
    assert isinstance(model.generate("images/0.png", "what is it?", max_new_tokens=2), str)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--data", "nothing.json"], "nothing.json"),
        ([f"{SETTING}images", "elsewhere"], "elsewhere"),
        ([f"{SETTING}image-size", "100"], "multiple of 64"),
        (["--init", "data.json"], "data.json"),
        (["--batch-size", "16", "--samples-seen", "16"], "8 usable samples"),
    ],
)
def test_wrong_input_is_one_sentence(
    arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "fastvlm-stage1", *RUN, "--output", "run", *arguments]) == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert said[-1].startswith("zoo: ") and sentence in said[-1], said
