"""The figure of `zoo data stats`: similarities of each teacher, lengths of captions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from zoo.reinforced_data.inspection.distributions import (
    SIMILARITY_EDGES,
    LengthCounts,
    SimilarityHistogram,
)
from zoo.reinforced_data.inspection.stats import DataStatistics
from zoo.reinforced_data.shards.whole_file import whole_file

_PANEL = (4.6, 3.1)  # inches
_DOTS_PER_INCH = 130
_INK, _MUTED = "#1d1d1f", "#7a7a80"
_COLOURS = {"ground truth": "#3b6fb6", "synthetic": "#d98a2b"}


def write_histograms(path: Path, statistics: DataStatistics) -> None:
    """Draw one panel a teacher and one of caption lengths into the PNG file `path`."""
    from matplotlib.figure import Figure

    panels = len(statistics.similarity) + 1
    figure = Figure(
        figsize=(_PANEL[0] * panels, _PANEL[1]), layout="constrained", facecolor="white"
    )
    axes = figure.subplots(1, panels, squeeze=False)[0]
    for axis, (teacher, kinds) in zip(axes, statistics.similarity.items(), strict=False):
        _draw_similarity(axis, teacher, kinds)
    _draw_lengths(axes[-1], statistics.captions)
    with whole_file(path) as temporary:
        figure.savefig(temporary, format="png", dpi=_DOTS_PER_INCH)


def _draw_similarity(axis: Any, teacher: str, kinds: Mapping[str, SimilarityHistogram]) -> None:
    for kind, histogram in kinds.items():
        shares = histogram.counts / histogram.counts.sum()
        label = f"{kind}, mean {histogram.mean:.3f}"
        _fill(axis, SIMILARITY_EDGES, shares, kind, label)
    used = np.flatnonzero(sum(histogram.counts for histogram in kinds.values()))
    axis.set_xlim(SIMILARITY_EDGES[used[0]] - 0.02, SIMILARITY_EDGES[used[-1] + 1] + 0.02)
    _finish(axis, teacher, "cosine of view and caption", "share of pairs")


def _draw_lengths(axis: Any, captions: Mapping[str, LengthCounts]) -> None:
    for kind, lengths in captions.items():
        if lengths.words:
            edges = np.arange(max(lengths.words) + 2) - 0.5
            _fill(axis, edges, _shares(lengths.words), kind, kind)
    _finish(axis, "captions", "words", "share of captions")


def _shares(counts: Counter[int]) -> np.ndarray:
    return np.array([counts[number] for number in range(max(counts) + 1)]) / counts.total()


def _fill(axis: Any, edges: np.ndarray, shares: np.ndarray, kind: str, label: str) -> None:
    axis.stairs(shares, edges, fill=True, alpha=0.25, color=_COLOURS[kind])
    axis.stairs(shares, edges, linewidth=1.3, color=_COLOURS[kind], label=label)


def _finish(axis: Any, title: str, x_label: str, y_label: str) -> None:
    axis.set_title(title, fontsize=10, color=_INK, loc="left", weight="bold", parse_math=False)
    axis.set_xlabel(x_label, fontsize=9, color=_MUTED)
    axis.set_ylabel(y_label, fontsize=9, color=_MUTED)
    axis.tick_params(labelsize=8, colors=_MUTED)
    axis.yaxis.set_major_formatter(lambda share, _: f"{100 * share:g}%")
    axis.set_ylim(bottom=0)
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(fontsize=8, frameon=False, labelcolor=_INK)
