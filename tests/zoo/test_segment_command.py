"""`zoo segment` writes what `model.segment` finds.

.venv/bin/pytest tests/zoo/test_segment_command.py
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from colour_segmenter import colour_segmenter, stripes
from PIL import Image

from zoo import load_model
from zoo.cli import main
from zoo.commands.segment_overlay import colour_of
from zoo.models.checkpoint import save_weights

LABELS = ["--labels", "red", "green, blue"]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "colours.safetensors"
    save_weights(colour_segmenter(), path)
    return path


@pytest.fixture(scope="module")
def tiny(weights: Path) -> list[str]:
    return ["--model", "sam-clip-tiny", "--weights", str(weights), "--device", "cpu"]


@pytest.fixture
def photos(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / "one.png", tmp_path / "two.png"]
    stripes("red", "blue").save(paths[0])
    stripes("blue", "green", width=90).save(paths[1])
    return paths


def segment(*arguments: object) -> int:
    return main(["segment", *(str(argument) for argument in arguments)])


def test_the_picture_is_written_under_the_colours_of_its_labels_above_a_legend(
    photos: list[Path], tiny: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert segment(*photos, *LABELS, *tiny) == 0
    written = np.asarray(Image.open(photos[0].with_name("one.segments.png"))).astype(int)
    assert written.shape[0] > 80 and written.shape[1] == 160
    for x, number, own in ((20, 0, [255, 0, 0]), (140, 2, [0, 0, 255])):
        expected = 0.55 * np.array(colour_of(number)) + 0.45 * np.array(own)
        assert np.abs(written[40, x] - expected).max() <= 0.5
    legend = written[80:]
    assert all((legend == colour_of(n)).all(axis=-1).any() == (n != 1) for n in range(3))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{photos[0]}: wrote {photos[0].with_name('one.segments.png')}"
    assert lines[1].split() == ["pixels", "score", "label"]
    assert {line.split()[-1]: line.split()[0] for line in lines[2:5]}["green"] == "0.0%"
    assert photos[1].with_name("two.segments.png").exists()


@pytest.mark.parametrize("refine", ["points", "regions"])
def test_refinement_and_background_are_the_models(
    photos: list[Path],
    tiny: list[str],
    weights: Path,
    capsys: pytest.CaptureFixture[str],
    refine: str,
) -> None:
    output = photos[0].parent / "result.png"
    flags = ["--refine", refine, "--background", "0.5", "--output", output]
    assert segment(photos[0], *LABELS, *tiny, *flags) == 0
    found = load_model("sam-clip-tiny", weights=weights).segment(
        photos[0],
        ["red", "green", "blue"],
        refine=True if refine == "points" else "regions",
        background=0.5,
    )
    share = float((found.classes == -1).float().mean())
    assert f"{share:6.1%}         (none of them)" in capsys.readouterr().out
    own, written = np.asarray(Image.open(photos[0])), np.asarray(Image.open(output))[:80]
    nothing = (found.classes == -1).numpy()
    assert np.abs(written[nothing] - 0.45 * own[nothing]).max() <= 0.5


def test_what_cannot_be_done_is_told_in_a_sentence(
    photos: list[Path], tiny: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    missing = photos[0].with_name("none.png")
    for arguments, sentence in (
        ([*photos, *LABELS, *tiny, "--output", "x.png"], "one file for 2 photographs"),
        ([photos[0], photos[0], *LABELS, *tiny], "would both be"),
        ([photos[0], *LABELS, *tiny, "--output", photos[0]], "is the photograph itself"),
        ([photos[0], "--labels", ",", *tiny], "list of labels is empty"),
        ([missing, *LABELS, *tiny], "No image at"),
        ([photos[0], *LABELS, "--model", "sam-clip-vit-b"], "no published weights"),
        ([photos[0], *LABELS, "--model", "mobileclip-tiny"], "mobileclip-tiny is"),
    ):
        assert segment(*arguments) == 2
        assert sentence in capsys.readouterr().err
    assert sorted(path.name for path in photos[0].parent.iterdir()) == ["one.png", "two.png"]
