"""`zoo chat` answers one question, or a conversation from a pipe.

.venv/bin/pytest tests/zoo/test_chat_command.py
"""

from __future__ import annotations

import io
from pathlib import Path

import pytest
import torch
from PIL import Image

from zoo.cli import main
from zoo.models.fastvlm.language_model import tiny_tokenizer
from zoo.models.fastvlm.prompt import encode_opening, encode_question, with_images
from zoo.models.fastvlm.vision_language_model import VisionLanguageModel
from zoo.models.load import load_model

FLAGS = ["--model", "fastvlm-tiny", "--weights", "none", "--device", "cpu"]
SHORT = ["--max-new-tokens", "6"]
QUESTION = "What is this?"


@pytest.fixture(autouse=True)
def same_weights() -> None:
    torch.manual_seed(0)


@pytest.fixture(scope="module")
def model() -> VisionLanguageModel:
    torch.manual_seed(0)
    return load_model("fastvlm-tiny", weights=None, device="cpu")


def chat(*arguments: str) -> int:
    return main(["chat", *arguments, *FLAGS, *SHORT])


def test_a_question_is_answered_and_the_command_ends(
    photo: Path, model: VisionLanguageModel, capsys: pytest.CaptureFixture[str]
) -> None:
    assert chat(str(photo), QUESTION) == 0
    answer = model.generate(photo, QUESTION, max_new_tokens=6)
    assert answer
    assert capsys.readouterr().out == f"{answer}\n"


def test_questions_from_a_pipe_are_one_conversation(
    photo: Path,
    model: VisionLanguageModel,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    lines = f"{QUESTION}\nAnd?\n/forget\nAnd?\n\nnever read\n"
    monkeypatch.setattr("sys.stdin", io.StringIO(lines))
    assert chat(str(photo)) == 0
    talk = model.chat(photo)
    answers = [talk.ask(text, max_new_tokens=6) for text in (QUESTION, "And?")]
    answers.append(model.chat(photo).ask("And?", max_new_tokens=6))
    assert capsys.readouterr().out == "".join(f"{answer}\n" for answer in answers)


def test_size_aspect_tiles_and_video_reach_the_model(
    photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    frames = [Image.new("RGB", (40, 30), (80 * place, 0, 0)) for place in range(3)]
    frames[0].save(tmp_path / "video.gif", save_all=True, append_images=frames[1:])
    flags = ["--image-size", "128", "--aspect", "crop", "--video", str(tmp_path / "video.gif")]
    room = ["--max-new-tokens", "32760"]
    # The refusal counts: four pictures, each whole and cut in two, of four tokens a view, and text.
    tokenizer = tiny_tokenizer()
    asked = encode_question(tokenizer, with_images("hi", 4), [3 * 4] * 4)
    tokens = len(encode_opening(tokenizer)) + len(asked)
    assert main(["chat", str(photo), "hi", *FLAGS, *flags, "--tiles", "1", "2", *room]) == 2
    refusal = capsys.readouterr().err
    assert f"has {tokens} tokens, 4 for each view" in refusal


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["nowhere.jpg", QUESTION], "zoo: No image at 'nowhere.jpg'; check the path."),
        (["nowhere.jpg"], "zoo: No image at 'nowhere.jpg'; check the path."),
        ([QUESTION, "--image-size", "100"], "give a multiple of 64"),
        ([QUESTION, "--video", "nowhere.mp4"], "No video at 'nowhere.mp4'"),
        ([QUESTION, "--device", "tpu9"], "Unknown device 'tpu9'"),
    ],
)
def test_bad_input_is_one_sentence(
    arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["chat", *FLAGS, *arguments]) == 2
    captured = capsys.readouterr()
    assert sentence in captured.err
    assert captured.err.count("\n") == 1


def test_a_very_long_question_is_a_question(capsys: pytest.CaptureFixture[str]) -> None:
    assert chat("why " * 200) == 0
    assert capsys.readouterr().out.strip()
