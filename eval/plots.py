"""Figures of a report, as SVG text that takes its colours from the page.

matplotlib draws with placeholder colours, which become CSS variables: one figure serves light and
dark, and a run has the same colour in all of them.
"""

from __future__ import annotations

import io
import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.ticker import Formatter

Curve = Sequence[tuple[float, float]]

SERIES = 6
"""Number of colours; the seventh run takes the first again."""
_TEXT, _MUTED, _LINE = "#0a0b01", "#0a0b02", "#0a0b03"
_SERIES = tuple(f"#0a0c{index:02x}" for index in range(1, SERIES + 1))
_CSS = {_TEXT: "var(--text)", _MUTED: "var(--muted)", _LINE: "var(--line)"} | {
    colour: f"var(--series-{index})" for index, colour in enumerate(_SERIES, 1)
}
_SIZE_INCHES = (4.6, 3.0)  # 331 points wide, about what a phone shows
_SMOOTHING_POINTS = 40
_BINS = 60
_LEAST_RANGE = 1e-3  # of a histogram, where all values are nearly equal
_PALE = 0.35
_LONGEST_OF_THREE = 16  # letters of a name in a legend of three columns


def run_colours(runs: Iterable[str]) -> dict[str, str]:
    """A colour for each run, in the order given; hand the same mapping to every plot."""
    return {run: _SERIES[index % SERIES] for index, run in enumerate(dict.fromkeys(runs))}


def curves(
    runs: Mapping[str, Curve],
    colours: Mapping[str, str],
    *,
    x_label: str,
    y_label: str,
) -> Figure:
    """Lines of several runs, each a sequence of (x, y), such as loss against samples seen.

    A run of more than 80 points is drawn pale, with its moving mean on top.
    """
    figure, axes = _figure(x_label, y_label)
    for run, points in runs.items():
        x, y = np.array(points, dtype=float).reshape(-1, 2).T
        window = max(1, len(x) // _SMOOTHING_POINTS)
        if window > 1:
            axes.plot(x, y, color=colours[run], linewidth=0.8, alpha=0.3)
        mean_x, mean_y = _moving_mean(x, window), _moving_mean(y, window)
        marker = "o" if len(x) < 3 else ""
        axes.plot(mean_x, mean_y, color=colours[run], linewidth=1.8, marker=marker, label=run)
    axes.xaxis.set_major_formatter(_thousands())
    _legend(axes)
    return figure


def bars(
    groups: Mapping[str, Mapping[str, Sequence[float]]],
    colours: Mapping[str, str],
    *,
    y_label: str,
) -> Figure:
    """Bars of several runs, group by group: {group: {run: values}}.

    The bar is the mean of a run's values and its figure stands above it; where a run has several
    values (seeds), each is a dot.
    """
    figure, axes = _figure("", y_label)
    runs = list(dict.fromkeys(run for group in groups.values() for run in group))
    width = 0.8 / max(1, len(runs))
    for offset, run in enumerate(runs):
        label: str | None = run
        for position, group in enumerate(groups.values()):
            if run in group:
                x = position + (offset - (len(runs) - 1) / 2) * width
                _bar(axes, x, group[run], width * 0.9, colours[run], label)
                label = None
    axes.set_xticks(range(len(groups)), [textwrap.fill(group, 14) for group in groups])
    axes.tick_params(axis="x", length=0, labelcolor=_TEXT)
    axes.margins(y=0.15)
    axes.set_ylim(bottom=0)
    _legend(axes)
    return figure


def histogram(
    values: np.ndarray,
    colour: str,
    *,
    x_label: str,
    y_label: str,
    threshold: float | None = None,
    kept: Literal["above", "below"] = "above",
    log: bool = False,
) -> Figure:
    """How many of `values` (N,) lie where; what a threshold drops is pale. `log`: heights."""
    figure, axes = _figure(x_label, y_label)
    low, high = float(values.min()), float(values.max())
    edges = np.linspace(low, max(high, low + _LEAST_RANGE), _BINS + 1)
    if threshold is not None:  # an edge of a bin, so that each bar is wholly kept or dropped
        edges = np.unique([*edges, threshold])
    counts, edges = np.histogram(values, bins=edges)
    limit = edges[0] if threshold is None else threshold
    outside = edges[1:] <= limit if kept == "above" else edges[:-1] >= limit
    shades = [(colour, _PALE if pale and threshold is not None else 1.0) for pale in outside]
    density = counts * (edges[-1] - edges[0]) / _BINS / np.diff(edges)
    axes.bar(edges[:-1], density, np.diff(edges), align="edge", color=shades, linewidth=0)
    if threshold is not None:
        axes.axvline(threshold, color=_TEXT, linewidth=1.2)
    if log:
        _logarithmic(axes, "y")
    axes.yaxis.set_major_formatter(_thousands())
    return figure


def scatter(
    groups: Mapping[str, np.ndarray],
    colours: Mapping[str, str],
    *,
    x_label: str,
    y_label: str,
    log: Literal["x", "xy"] | None = None,
) -> Figure:
    """Points of several groups, each float (N, 2); `log`: which axes are logarithmic."""
    figure, axes = _figure(x_label, y_label)
    for group, points in groups.items():
        label = group if len(groups) > 1 else None
        axes.scatter(*points.T, s=14, color=colours[group], alpha=0.7, linewidths=0, label=label)
    if log is not None:
        _logarithmic(axes, log)
    _legend(axes)
    return figure


def ranks(
    series: Mapping[str, np.ndarray],
    colours: Mapping[str, str],
    *,
    x_label: str,
    y_label: str,
    level: float | None = None,
) -> Figure:
    """Each series float (N,) from its highest to its lowest positive value, both axes logarithmic.

    `level` is a horizontal line.
    """
    figure, axes = _figure(x_label, y_label)
    for name, values in series.items():
        falling = np.sort(values[values > 0])[::-1]
        places = np.arange(1, len(falling) + 1)
        axes.plot(places, falling, color=colours[name], linewidth=1.8, label=name)
    if level is not None:
        axes.axhline(level, color=_TEXT, linewidth=1, linestyle=":")
    _logarithmic(axes, "xy")
    _legend(axes)
    return figure


def heat_map(
    values: np.ndarray,
    colour: str,
    *,
    row_names: Sequence[str],
    column_names: Sequence[str],
    x_label: str,
    y_label: str,
) -> Figure:
    """Float (R, C) as a grid of cells, each with its figure and the deeper the higher it is."""
    figure, axes = _figure(x_label, y_label)
    low, high = float(values.min()), float(values.max())
    depths = (values - low) / max(high - low, _LEAST_RANGE)
    for (row, column), value in np.ndenumerate(values):
        shade = (colour, 0.08 + 0.72 * float(depths[row, column]))
        corner = (column - 0.5, row - 0.5)
        axes.bar(corner[0], 1, 1, corner[1], align="edge", color=shade, linewidth=0)
        axes.annotate(f"{value:.1f}", (column, row), ha="center", va="center", color=_TEXT)
    axes.set_xticks(range(len(column_names)), column_names)
    axes.set_yticks(range(len(row_names)), row_names)
    axes.tick_params(length=0, labelcolor=_TEXT)
    axes.set_xlim(-0.5, len(column_names) - 0.5)
    axes.set_ylim(len(row_names) - 0.5, -0.5)  # the first row on top
    axes.spines[:].set_visible(False)
    axes.grid(visible=False)
    return figure


def svg(figure: Figure) -> str:
    """A figure as an `<svg>` element without size, for a page that defines the CSS variables."""
    import matplotlib

    buffer = io.StringIO()
    # A fixed salt makes the identifiers hashes of what they name: the same file every time, and
    # figures on one page share an identifier only for the same thing.
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "zoo"}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'<g id="\w+">', "<g>", text)  # figure_1, axes_1: numbered within one figure
    tag, rest = text.split(">", 1)
    text = re.sub(r' (?:width|height)="[^"]*"', "", tag) + ">" + rest
    for colour, variable in _CSS.items():
        text = text.replace(colour, variable)
    return text


def _figure(x_label: str, y_label: str) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=_SIZE_INCHES, layout="constrained")
    axes = figure.add_subplot()
    axes.set_xlabel(x_label, color=_TEXT)
    axes.set_ylabel(y_label, color=_TEXT)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(_MUTED)
    axes.tick_params(color=_MUTED, labelcolor=_MUTED)
    axes.grid(axis="y", color=_LINE, linewidth=0.8)
    axes.set_axisbelow(True)
    return figure, axes


def _bar(
    axes: Axes, x: float, values: Sequence[float], width: float, colour: str, label: str | None
) -> None:
    mean = float(np.mean(values))
    axes.bar(x, mean, width, color=colour, label=label)
    if len(values) > 1:
        axes.scatter([x] * len(values), values, s=10, color=_TEXT, zorder=3, linewidths=0)
    axes.annotate(
        f"{mean:.1f}",
        (x, max(mean, *values, 0.0)),
        xytext=(0, 4),
        textcoords="offset points",
        ha="center",
        color=_TEXT,
        fontsize=9,
    )


def _legend(axes: Axes) -> None:
    labels = axes.get_legend_handles_labels()[1]
    if labels:
        columns = 3 if max(map(len, labels)) <= _LONGEST_OF_THREE else 2
        axes.legend(
            frameon=False, labelcolor=_TEXT, ncols=columns, loc="lower left", bbox_to_anchor=(0, 1)
        )


def _moving_mean(values: np.ndarray, window: int) -> np.ndarray:
    return np.convolve(values, np.full(window, 1 / window), mode="valid")


def _logarithmic(axes: Axes, which: Literal["x", "y", "xy"]) -> None:
    """Plain numbers at 1, 2 and 5 of each decade, so that a short range has labels too."""
    from matplotlib.ticker import LogLocator, NullLocator

    for name in which:
        axes.set(**{f"{name}scale": "log"})
        axis = axes.xaxis if name == "x" else axes.yaxis
        axis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=12))
        axis.set_minor_locator(NullLocator())
        axis.set_major_formatter(_thousands())


def _thousands() -> Formatter:
    from matplotlib.ticker import FuncFormatter

    return FuncFormatter(lambda value, _: f"{value / 1000:g} k" if value >= 1000 else f"{value:g}")
