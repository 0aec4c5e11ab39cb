"""The contact sheet of `zoo data show`: a block a sample, pictures above, captions below."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from zoo.reinforced_data.inspection.show import ReinforcedSample
from zoo.reinforced_data.shards.whole_file import whole_file

# Lengths in inches.
_WIDTH, _MARGIN, _DOTS_PER_INCH = 13.0, 0.4, 110
_VIEWS_A_ROW, _VIEW, _VIEW_GAP, _VIEW_LABEL = 5, 1.6, 0.1, 0.26
_TITLE, _KEY, _LINE, _BLOCK_GAP = 0.95, 0.4, 0.22, 0.45
_LABEL_WIDTH, _TEACHER_WIDTH, _INCHES_A_LETTER = 1.3, 1.5, 0.068
_INK, _MUTED, _RULE = "#1d1d1f", "#7a7a80", "#d9d9de"


def write_contact_sheet(path: Path, samples: Sequence[ReinforcedSample], title: str) -> None:
    """Draw `samples` into the PNG file `path`, whole or not at all.

    Each has its picture, its recorded views with every teacher's cosine to the ground-truth
    caption, and its captions with every teacher's cosine to them, mean over the views.
    """
    page = _Page(_TITLE + sum(map(_height, samples)))
    page.text(_MARGIN, 0.4, title, size=13, weight="bold")
    teachers = ", ".join(samples[0].similarity)
    legend = f"Below a view: its cosine with the ground-truth caption ({teachers}). "
    page.text(_MARGIN, 0.68, f"{legend}Beside a caption: mean over the views.", color=_MUTED)
    top = _TITLE
    for sample in samples:
        _draw(page, sample, top)
        top += _height(sample)
    page.save(path)


class _Page:
    """A figure addressed in inches from its top left corner."""

    def __init__(self, height: float) -> None:
        from matplotlib.figure import Figure

        self._height = height
        self._figure = Figure(figsize=(_WIDTH, height), facecolor="white")

    def text(self, left: float, top: float, text: str, *, size: float = 9, **style: Any) -> None:
        style = {"color": _INK, "va": "center", "parse_math": False} | style
        self._figure.text(left / _WIDTH, 1 - top / self._height, text, fontsize=size, **style)

    def picture(self, left: float, top: float, side: float, picture: Image.Image) -> None:
        bottom = (self._height - top - side) / self._height
        box = (left / _WIDTH, bottom, side / _WIDTH, side / self._height)
        axes = self._figure.add_axes(box, anchor="NW")
        axes.imshow(picture)
        axes.set_axis_off()

    def rule(self, top: float) -> None:
        from matplotlib.lines import Line2D

        y = 1 - top / self._height
        ends = (_MARGIN / _WIDTH, 1 - _MARGIN / _WIDTH)
        self._figure.add_artist(Line2D(ends, (y, y), color=_RULE, linewidth=0.8))

    def save(self, path: Path) -> None:
        with whole_file(path) as temporary:
            self._figure.savefig(temporary, format="png", dpi=_DOTS_PER_INCH)


def _draw(page: _Page, sample: ReinforcedSample, top: float) -> None:
    page.rule(top)
    page.text(_MARGIN, top + _KEY / 2, sample.key, weight="bold")
    top += _KEY
    side = _views_height(sample) - _VIEW_LABEL
    page.picture(_MARGIN, top, side, sample.picture)
    for number, view in enumerate(sample.views):
        row, column = divmod(number, _VIEWS_A_ROW)
        left = _views_left(side) + column * (_VIEW + _VIEW_GAP)
        view_top = top + row * (_VIEW + _VIEW_LABEL)
        page.picture(left, view_top, _VIEW, view)
        cosines = "   ".join(f"{table[number, 0]:.2f}" for table in sample.similarity.values())
        page.text(left, view_top + _VIEW + _VIEW_LABEL / 2, cosines, size=8, color=_MUTED)
    _draw_captions(page, sample, top + _views_height(sample))


def _draw_captions(page: _Page, sample: ReinforcedSample, top: float) -> None:
    columns = [_WIDTH - _MARGIN - _TEACHER_WIDTH * k for k in range(len(sample.similarity))][::-1]
    for right, teacher in zip(columns, sample.similarity, strict=True):
        name = textwrap.shorten(teacher, 20, placeholder="…")
        page.text(right, top + _LINE / 2, name, size=8, color=_MUTED, ha="right")
    texts = {"ground truth": sample.ground_truth}
    texts |= {f"synthetic {c}": text for c, text in enumerate(sample.synthetic, 1)}
    room = columns[0] - _TEACHER_WIDTH / 2 - _MARGIN - _LABEL_WIDTH
    for row, (label, text) in enumerate(texts.items()):
        middle = top + (row + 1.5) * _LINE
        page.text(_MARGIN, middle, label, size=8, color=_MUTED)
        shown = textwrap.shorten(text, int(room / _INCHES_A_LETTER), placeholder=" …")
        page.text(_MARGIN + _LABEL_WIDTH, middle, shown)
        for right, table in zip(columns, sample.similarity.values(), strict=True):
            page.text(right, middle, f"{table[:, row].mean():.3f}", ha="right")


def _views_left(picture_side: float) -> float:
    return _MARGIN + picture_side + 3 * _VIEW_GAP


def _views_height(sample: ReinforcedSample) -> float:
    return math.ceil(len(sample.views) / _VIEWS_A_ROW) * (_VIEW + _VIEW_LABEL)


def _height(sample: ReinforcedSample) -> float:
    captions = (2 + len(sample.synthetic)) * _LINE
    return _KEY + _views_height(sample) + captions + _BLOCK_GAP
