"""fastvlm-tiny learns tiny-world questions in its four stages, and the demo's report shows it.

Run: .venv/bin/pytest -m slow tests/zoo/test_demo_vision_language.py
"""

from __future__ import annotations

from pathlib import Path

import pytest

from zoo.commands.demo_stages import DemoFolder
from zoo.commands.demo_vision_language import (
    answer_sections,
    evaluate_answers,
    train_stages,
    write_conversations,
)
from zoo.eval.report import ImageGridSection, write_report
from zoo.eval.results import read_results


@pytest.mark.slow
def test_every_kind_of_answer_is_better_than_the_most_frequent_one(tmp_path: Path) -> None:
    paths = DemoFolder(tmp_path)
    write_conversations(paths)
    run = train_stages(paths)
    assert train_stages(paths) == run, "finished stages are kept"
    evaluate_answers(paths, run, paths.results)

    records = read_results(paths.results)
    (record,) = records
    metrics = record["metrics"]
    for kind in ("colour", "count", "existence", "place", "relation"):
        assert metrics[f"accuracy/{kind}"] > metrics[f"majority/{kind}"], kind
    # Who knows which colours there are and which places are taken, and guesses the rest, has 0.795
    # and 0.306: these say that the model looks where a colour is.
    assert metrics["accuracy/place"] > 0.85
    assert metrics["accuracy/relation"] > 0.36

    sections = answer_sections(paths, run, records)
    grids = [section for section in sections if isinstance(section, ImageGridSection)]
    assert [len(grid.tiles) for grid in grids] == [12]
    page = write_report(tmp_path / "report.html", title="demo", sections=sections)
    assert grids[0].tiles[0].caption in page.read_text(encoding="utf-8")
