"""Published accuracies and ratios stand beside the rows that they belong to, and no others.

.venv/bin/pytest tests/eval/ttft/test_ttft_page.py
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from zoo.eval.ttft.candidate import Description
from zoo.eval.ttft.measure import QUANTITIES, Timing, TtftRow
from zoo.eval.ttft.page import write_page
from zoo.eval.ttft.published import AVERAGE_5, TTFT_MS, published_point, ratios


def row(model: str, size: int, milliseconds: float, dtype: str = "float32") -> TtftRow:
    timing = Timing(p50=milliseconds, lowest=1.0, highest=9.0, cpu_p50=2.0)
    return TtftRow(
        description=Description(
            model=model,
            image_size=size,
            visual_tokens=1,
            text_tokens=1,
            language_model="qwen2 24×896",
            dtype=dtype,
            device="cpu",
            tower_parameters=1,
        ),
        threads=1,
        rounds=1,
        timings=dict.fromkeys(QUANTITIES, timing),
    )


def test_the_ratios_of_the_paper_are_its_figures_and_ours_those_measured() -> None:
    rows = [
        row("fastvlm-0.5b", 1024, 3.0, "int8"),
        row("fastvlm-0.5b", 1024, 10.0),
        row("LLaVA-OneVision", 1152, 120.0),
    ]
    onevision, siglip = ratios(rows)
    assert onevision.published == pytest.approx(85, abs=0.5)
    assert onevision.measured == pytest.approx(12)
    assert siglip.published == pytest.approx(3.2, abs=0.05)
    assert siglip.measured is None


def test_an_accuracy_belongs_to_a_tower_a_size_and_the_smallest_language_model() -> None:
    ours = row("fastvlm-0.5b", 512, 1.0)
    assert published_point(ours) == ("fastvlm-0.5b", 512)
    assert published_point(row("fastvlm-0.5b", 640, 1.0)) is None
    large = replace(ours.description, language_model="qwen2 28×1536")
    assert published_point(replace(ours, description=large)) is None
    assert AVERAGE_5.keys() == TTFT_MS.keys()


def test_the_page_has_both_figures_and_marks_what_is_published(tmp_path: Path) -> None:
    path = tmp_path / "new" / "page.html"
    write_page([row("fastvlm-0.5b", 512, 700.0), row("other", 1, 1.0)], path)
    page = path.read_text()
    assert page.count("<svg") == 2
    assert "published Avg-5" in page and "accuracies are not ours" in page
    assert "fastvlm-0.5b float32" in page and "paper, M1 Max" in page
    # The paper's points are ttft_paper's and stand in its figure alone.
    assert "paper, M1 Max" not in page[page.rindex("<svg") :]
    assert "other" not in page
    assert [file.name for file in path.parent.iterdir()] == ["page.html"]


def test_without_a_published_accuracy_there_is_no_page(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="measure fastvlm"):
        write_page([row("fastvlm-tiny", 192, 1.0)], tmp_path / "page.html")
    assert not list(tmp_path.iterdir())
