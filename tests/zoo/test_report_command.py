"""`zoo report` draws what `zoo train` leaves behind.

Run: pytest tests/zoo/test_report_command.py
"""

from __future__ import annotations

from pathlib import Path

import pytest
from toy_batches import ALONE, ToyLoader, toy_recipe

from zoo.cli import main
from zoo.training.loop import train
from zoo.training.run import build_model


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real run of three steps, evaluated twice."""
    recipe = toy_recipe(
        tmp_path_factory.mktemp("runs") / "toy", samples_seen=24, checkpoint_every=2
    )
    train(
        recipe,
        model=build_model(recipe),
        loader=ToyLoader(recipe),
        world=ALONE,
        on_evaluate=lambda _, step: {"acc1": step / 10},
    )
    return recipe.output


def test_a_run_becomes_one_page_with_nothing_outside(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", str(run), "--output", str(tmp_path / "page.html")]) == 0
    assert "wrote" in capsys.readouterr().out
    page = (tmp_path / "page.html").read_text()
    for text in ("Contrastive loss", "Top-1 accuracy", "mobileclip-tiny", "batch_size", "<svg"):
        assert text in page
    assert "http-equiv" not in page and 'src="http' not in page and "<link" not in page


def test_the_page_is_in_the_first_run_unless_told_otherwise(run: Path) -> None:
    assert main(["report", str(run), str(run)]) == 0
    assert (run / "report.html").is_file()


def test_a_folder_that_is_no_run_ends_in_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", str(tmp_path)]) == 2
    assert "is not the folder of a training run" in capsys.readouterr().err
    assert main(["report"]) == 2
    assert "give the folder of one or more" in capsys.readouterr().err
