"""A report: one HTML file with everything inside, readable offline, on a phone, light or dark."""

from __future__ import annotations

import base64
import io
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from zoo.eval.plots import svg
from zoo.eval.report_style import STYLE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Cell = str | int | float | None

_TILE_PIXELS = 320  # longer side of a picture in a grid; twice its width on the page
_SMALL_PIXELS = 128  # up to here a picture is stored without loss and shown with sharp pixels


@dataclass(frozen=True, kw_only=True)
class TextSection:
    """Paragraphs, separated by empty lines. An empty heading continues the section before."""

    heading: str = ""
    text: str


@dataclass(frozen=True, kw_only=True)
class Stat:
    """One figure with its unit, and what it is."""

    value: str
    label: str


@dataclass(frozen=True, kw_only=True)
class StatsSection:
    """A few figures that sum the report up."""

    heading: str = ""
    stats: Sequence[Stat]


@dataclass(frozen=True, kw_only=True)
class TableSection:
    """Rows under named columns; numbers are set to the right, None is a dash."""

    heading: str = ""
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class FigureSection:
    """A matplotlib figure, such as those of `zoo.eval.plots`."""

    heading: str = ""
    figure: Figure
    caption: str = ""


@dataclass(frozen=True, kw_only=True)
class Tile:
    """A picture with its caption and, below, what a model said of it."""

    image: Image.Image
    caption: str = ""
    verdict: str = ""
    correct: bool | None = None
    """Whether the verdict is right; None if it is neither right nor wrong."""


@dataclass(frozen=True, kw_only=True)
class ImageGridSection:
    """A contact sheet."""

    heading: str = ""
    tiles: Sequence[Tile]
    note: str = ""


Section = TextSection | StatsSection | TableSection | FigureSection | ImageGridSection


def write_report(path: str | Path, *, title: str, sections: Sequence[Section]) -> Path:
    """Write the report and return its path. All text is escaped; nothing outside is referenced.

    Raises:
        ValueError: there are no sections, or a row of a table has more or fewer cells than columns.
    """
    if not sections:
        raise ValueError(f"The report {title!r} has no sections: there is nothing to show.")
    path = Path(path)
    body = "\n".join(_section(section) for section in sections)
    page = (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>\n{STYLE}\n</style>\n</head>\n<body>\n"
        f"<h1>{escape(title)}</h1>\n{body}\n</body>\n</html>\n"
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.write_text(page, encoding="utf-8")
    temporary.replace(path)
    return path


def _section(section: Section) -> str:
    heading = f"<h2>{escape(section.heading)}</h2>\n" if section.heading else ""
    return heading + _body(section)


def _body(section: Section) -> str:
    match section:
        case TextSection():
            return _paragraphs(section.text)
        case StatsSection():
            return _stats(section)
        case TableSection():
            return _table(section)
        case FigureSection():
            return _plot(section)
        case ImageGridSection():
            return _image_grid(section)


def _paragraphs(text: str) -> str:
    paragraphs = (part.strip() for part in text.split("\n\n"))
    return "\n".join(f"<p>{escape(part)}</p>" for part in paragraphs if part)


def _stats(section: StatsSection) -> str:
    stats = (
        f'<div class="stat"><b>{escape(stat.value)}</b><span>{escape(stat.label)}</span></div>'
        for stat in section.stats
    )
    return f'<div class="stats">{"".join(stats)}</div>'


def _table(section: TableSection) -> str:
    for row in section.rows:
        if len(row) != len(section.columns):
            raise ValueError(
                f"The table {section.heading!r} has {len(section.columns)} columns, but a row has "
                f"{len(row)} cells: {list(row)}."
            )
    by_column = [[row[index] for row in section.rows] for index in range(len(section.columns))]
    numeric = [bool(cells) and not any(isinstance(c, str) for c in cells) for cells in by_column]
    texts = zip(*[_cells(cells) for cells in by_column], strict=True)
    head = _row("th", section.columns, numeric)
    rows = "".join(_row("td", row, numeric) for row in texts)
    table = f"<table><thead>{head}</thead><tbody>{rows}</tbody></table>"
    return f'<div class="scroll">{table}</div>' + _note(section.note)


def _row(tag: str, cells: Sequence[str], numeric: Sequence[bool]) -> str:
    marked = (
        f"<{tag}{' class=number' if number else ''}>{escape(cell)}</{tag}>"
        for cell, number in zip(cells, numeric, strict=True)
    )
    return f"<tr>{''.join(marked)}</tr>"


def _cells(values: Sequence[Cell]) -> list[str]:
    """A column's texts, its fractional numbers with the same decimals.

    The smallest keeps three significant digits where three decimals suffice for it.
    """
    sizes = [abs(value) for value in values if isinstance(value, float) and value]
    decimals = min(3, max(1, 2 - math.floor(math.log10(min(sizes))))) if sizes else 1
    return [_cell(value, decimals) for value in values]


def _cell(value: Cell, decimals: int) -> str:
    if value is None:
        return "–"
    if isinstance(value, str):
        return value
    return f"{value:,}" if isinstance(value, int) else f"{value:,.{decimals}f}"


def _plot(section: FigureSection) -> str:
    caption = f"<figcaption>{escape(section.caption)}</figcaption>" if section.caption else ""
    label = escape(section.caption or section.heading, quote=True)
    drawing = svg(section.figure).replace("<svg", f'<svg role="img" aria-label="{label}"', 1)
    return f'<figure class="plot">{drawing}{caption}</figure>'


def _image_grid(section: ImageGridSection) -> str:
    tiles = "".join(_tile(tile) for tile in section.tiles)
    return f'<div class="tiles">{tiles}</div>' + _note(section.note)


def _tile(tile: Tile) -> str:
    mark = {True: "✓ ", False: "✗ ", None: ""}[tile.correct]
    colour = {True: " right", False: " wrong", None: ""}[tile.correct]
    verdict = (
        f'<span class="verdict{colour}">{mark}{escape(tile.verdict)}</span>' if tile.verdict else ""
    )
    small = ' class="small"' if max(tile.image.size) <= _SMALL_PIXELS else ""
    alternative = escape(tile.caption, quote=True)
    return (
        f'<figure class="tile"><img{small} src="{_data_url(tile.image)}" alt="{alternative}">'
        f"<figcaption>{escape(tile.caption)}{verdict}</figcaption></figure>"
    )


def _data_url(image: Image.Image) -> str:
    image = image.convert("RGB")
    buffer = io.BytesIO()
    if max(image.size) <= _SMALL_PIXELS:
        kind = "png"
        image.save(buffer, "PNG", optimize=True)
    else:
        kind = "jpeg"
        image.thumbnail((_TILE_PIXELS, _TILE_PIXELS))
        image.save(buffer, "JPEG", quality=85)
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _note(text: str) -> str:
    return f'<p class="note">{escape(text)}</p>' if text else ""
