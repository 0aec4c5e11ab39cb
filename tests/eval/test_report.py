"""A report is one file that needs nothing else, escapes all text and shows what the records say.

.venv/bin/pytest tests/eval/test_report.py
"""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.patches import Rectangle
from PIL import Image

from zoo.eval.plots import bars, curves, run_colours, svg
from zoo.eval.report import (
    FigureSection,
    ImageGridSection,
    Stat,
    StatsSection,
    TableSection,
    TextSection,
    Tile,
    write_report,
)
from zoo.eval.report_sections import (
    comparison_section,
    curve_section,
    provenance_section,
    results_table,
)
from zoo.eval.results import result_record

COLOURS = run_colours(["plain", "reinforced"])
NASTY = "<script>alert(\"x\")</script> & 'y'"


class Elements(HTMLParser):
    """Start tags with their attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def result(model: str, metrics: dict[str, float], unit: str = "fraction") -> dict[str, Any]:
    return result_record(
        model=model,
        dataset="held-out",
        protocol={"task": "zeroshot_classification", "templates": ["a", "b"]},
        metrics=metrics,
        units=dict.fromkeys(metrics, unit),
    )


def every_kind() -> list[Any]:
    loss = {"plain": [(256.0, 3.0), (512.0, 2.0)], "reinforced": [(256.0, 2.5), (512.0, 1.5)]}
    figure = curves(loss, COLOURS, x_label="samples seen", y_label="loss")
    tile = Tile(image=Image.new("RGB", (8, 8), "red"), caption=NASTY, verdict=NASTY, correct=False)
    return [
        TextSection(heading=NASTY, text=NASTY),
        StatsSection(stats=[Stat(value=NASTY, label=NASTY)]),
        TableSection(columns=[NASTY], rows=[[NASTY]], note=NASTY),
        FigureSection(figure=figure, caption=NASTY),
        ImageGridSection(tiles=[tile], note=NASTY),
    ]


def test_all_text_is_escaped_wherever_it_stands(tmp_path: Path) -> None:
    page = write_report(tmp_path / "r.html", title=NASTY, sections=every_kind()).read_text()
    tags = [tag for tag, _ in Elements(page).found]
    assert "script" not in tags
    assert page.count("&lt;script&gt;") >= 12
    assert 'alert("x")' not in page


def test_the_page_references_nothing_outside_itself(tmp_path: Path) -> None:
    page = write_report(tmp_path / "r.html", title="t", sections=every_kind()).read_text()
    for tag, attributes in Elements(page).found:
        assert tag not in ("link", "script", "iframe")
        for name in ("src", "href", "xlink:href"):
            assert (attributes.get(name) or "#").startswith(("#", "data:image/"))
    assert not re.search(r"url\((?!#)|@import", page)


def test_a_report_takes_its_place_whole(tmp_path: Path) -> None:
    path = write_report(tmp_path / "a" / "r.html", title="t", sections=[TextSection(text="one")])
    with pytest.raises(ValueError, match="1 columns, but a row has 2 cells"):
        write_report(path, title="t", sections=[TableSection(columns=["a"], rows=[["b", "c"]])])
    assert "<p>one</p>" in path.read_text()
    assert [file.name for file in path.parent.iterdir()] == ["r.html"]


def test_a_report_of_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="has no sections"):
        write_report(tmp_path / "r.html", title="t", sections=[])


def test_a_wrong_verdict_is_marked_by_more_than_its_colour(tmp_path: Path) -> None:
    image = Image.new("L", (200, 100))
    tiles = [Tile(image=image, verdict=f"says {ok}", correct=ok) for ok in (True, False, None)]
    sections = [ImageGridSection(tiles=tiles)]
    page = write_report(tmp_path / "r.html", title="t", sections=sections).read_text()
    assert "✓ says True" in page and "✗ says False" in page and ">says None" in page


def test_numbers_of_a_column_share_their_decimals(tmp_path: Path) -> None:
    rows = [[306.58, 11_406_976, "a"], [1.8163, 5, "b"], [None, 7, "c"]]
    table = TableSection(columns=["ms", "parameters", "name"], rows=rows)
    page = write_report(tmp_path / "r.html", title="t", sections=[table]).read_text()
    cells = re.findall(r"<td[^>]*>([^<]*)", page)
    assert cells == ["306.58", "11,406,976", "a", "1.82", "5", "b", "–", "7", "c"]


def test_a_run_has_the_same_colour_in_every_plot() -> None:
    line = svg(curves({"reinforced": [(0, 1), (1, 0)]}, COLOURS, x_label="x", y_label="y"))
    bar = svg(bars({"top-1": {"reinforced": [60.0, 62.0]}}, COLOURS, y_label="%"))
    for drawing in (line, bar):
        assert "var(--series-2)" in drawing and "var(--series-1)" not in drawing


def test_a_drawing_takes_all_its_colours_and_its_size_from_the_page() -> None:
    drawing = svg(bars({"top-1": {"plain": [50.0]}}, COLOURS, y_label="per cent"))
    root = ElementTree.fromstring(drawing)
    assert root.get("viewBox") and root.get("width") is None and root.get("height") is None
    assert not re.search(r"#0a0[bc]", drawing)
    assert "per cent" in "".join(root.itertext()) and "50.0" in "".join(root.itertext())


def test_the_same_figure_gives_the_same_drawing() -> None:
    first, second = (
        svg(curves({"plain": [(0, 1), (9, 0)]}, COLOURS, x_label="x", y_label="y"))
        for _ in range(2)
    )
    assert first == second


def test_a_long_curve_is_shown_with_its_moving_mean() -> None:
    points = [(float(index), float(index % 2)) for index in range(400)]
    (axes,) = curves({"plain": points}, COLOURS, x_label="x", y_label="y").axes
    raw, mean = axes.lines
    assert len(np.asarray(raw.get_xdata())) == 400
    assert np.allclose(np.asarray(mean.get_ydata()), 0.5)


def test_curves_come_from_the_training_logs(tmp_path: Path) -> None:
    log = tmp_path / "metrics.jsonl"
    lines = [{"step": step, "samples_seen": 256 * step, "loss": 5 - step} for step in range(3)]
    log.write_text("".join(json.dumps(line) + "\n" for line in lines))
    section = curve_section({"plain": log}, COLOURS, heading="Loss")
    (line,) = section.figure.axes[0].lines
    assert np.asarray(line.get_xydata()).tolist() == [[0, 5], [256, 4], [512, 3]]
    assert section.figure.axes[0].get_xlabel() == "samples seen"
    with pytest.raises(ValueError, match=r"metrics\.jsonl has no line with .* 'accuracy'"):
        curve_section({"plain": log}, COLOURS, heading="x", y="accuracy")


def test_bars_are_means_over_the_seeds_in_per_cent() -> None:
    records = [result("plain", {"acc1": value}) for value in (0.4, 0.6)]
    records.append(result("reinforced", {"acc1": 0.75}))
    section = comparison_section(records, COLOURS, heading="x", metrics=["acc1"])
    patches = section.figure.axes[0].patches
    heights = [patch.get_height() for patch in patches if isinstance(patch, Rectangle)]
    assert heights == pytest.approx([50, 75])
    with pytest.raises(ValueError, match="No result has the metric 'acc5'"):
        comparison_section(records, COLOURS, heading="x", metrics=["acc5"])
    with pytest.raises(ValueError, match="is in 'ms', not a fraction"):
        slow = [result("plain", {"p50_ms": 3.0}, "ms")]
        comparison_section(slow, COLOURS, heading="x", metrics=["p50_ms"])


def test_a_table_shows_units_and_leaves_a_gap_where_a_record_lacks_a_metric() -> None:
    records = [
        result("plain", {"acc1": 0.5}),
        result("fused", {"activation_bytes": 2_000_000}, "bytes"),
    ]
    table = results_table(records, columns=("model", "templates"))
    assert table.columns == ["model", "templates", "top-1 accuracy (%)", "activations (MB)"]
    assert table.rows == [["plain", "a, b", 50.0, None], ["fused", "a, b", None, 2.0]]


def test_provenance_names_each_command_once() -> None:
    records = [result("plain", {"acc1": 0.5}), result("reinforced", {"acc1": 0.6})]
    table = provenance_section(records)
    assert len(table.rows) == 1
    assert records[0]["command"] in table.rows[0]
