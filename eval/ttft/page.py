"""The accuracy–TTFT picture, as one page without outside resources."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

import numpy as np

from zoo.eval import plots
from zoo.eval.report_style import STYLE
from zoo.eval.ttft.measure import TtftRow
from zoo.eval.ttft.published import AVERAGE_5, FASTVLM, SOURCE, TTFT_MS, published_point

_PAPER = "paper, M1 Max"
_Y_LABEL = "published Avg-5 (%)"

Points = dict[str, list[tuple[float, float]]]


def write_page(rows: Sequence[TtftRow], path: Path) -> None:
    """Write two figures as HTML, whole or not at all: published accuracy against `ttft_paper`, the
    paper's own points beside those measured, and against `ttft_e2e`.

    Raises ValueError where nothing is published of any row, and OSError where the file cannot be
    written.
    """
    if not any(published_point(row) for row in rows):
        raise ValueError(
            f"The paper states the accuracy of none of these; measure {FASTVLM} at 256, 512, 768 "
            "or 1024 pixels for the picture."
        )
    of_paper = _published_points()
    figures = (
        _figure(_points(rows, "ttft_paper") | of_paper, "ttft_paper (ms)", _TTFT_PAPER),
        _figure(_points(rows, "ttft_e2e"), "ttft_e2e (ms)", _TTFT_E2E),
    )
    page = _PAGE.format(style=STYLE, figures="\n".join(figures), source=escape(SOURCE))
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_text(page, encoding="utf-8")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


_TTFT_PAPER = "Vision encoder + prefill of the visual tokens alone; measured here and in the paper."
_TTFT_E2E = "From a file on the disk to the first token, measured here."
_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Accuracy and time to first token</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>{style}</style>
<h1>Accuracy and time to first token</h1>
<p>Times are measured; accuracies are not ours: {source}. Weights were of the same shape, so that a
point says what a model of that accuracy costs on this machine.</p>
{figures}
</html>
"""


def _figure(groups: Mapping[str, Sequence[tuple[float, float]]], x_label: str, note: str) -> str:
    arrays = {name: np.array(points) for name, points in groups.items()}
    figure = plots.scatter(
        arrays, plots.run_colours(arrays), x_label=x_label, y_label=_Y_LABEL, log="x"
    )
    caption = f"<figcaption>{escape(note)}</figcaption>"
    return f'<figure class="plot">{plots.svg(figure)}{caption}</figure>'


def _points(rows: Sequence[TtftRow], quantity: str) -> Points:
    points: Points = {}
    for row in rows:
        key = published_point(row)
        if key is not None:
            model, dtype = row.description.model, row.description.dtype
            name = f"{model} {dtype}" if model == FASTVLM else model
            points.setdefault(name, []).append((row.timings[quantity].p50, AVERAGE_5[key]))
    return points


def _published_points() -> Points:
    return {_PAPER: [(TTFT_MS[key], accuracy) for key, accuracy in AVERAGE_5.items()]}
