"""The matrix of models over tests: its means, its score, its picture.

Run: pytest tests/eval/test_continual.py
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from zoo.eval.continual import TransferMatrix, evaluate_step, score_name, write_matrix_report
from zoo.eval.datasets import EvalDataset
from zoo.eval.plots import heat_map, svg
from zoo.models.load import load_model

SCORES = np.array([[0.9, 0.2, 0.1], [0.5, 0.8, 0.3], [0.3, 0.4, 0.7]])


@pytest.fixture
def matrix() -> TransferMatrix:
    return TransferMatrix(("2014", "2015", "2016"), SCORES)


def test_the_diagonal_is_its_own_time_below_the_past_above_the_future(
    matrix: TransferMatrix,
) -> None:
    assert matrix.in_domain == pytest.approx((0.9 + 0.8 + 0.7) / 3)
    assert matrix.backward_transfer == pytest.approx((0.5 + 0.3 + 0.4) / 3)
    assert matrix.forward_transfer == pytest.approx((0.2 + 0.1 + 0.3) / 3)
    assert set(matrix.metrics()) == {"in_domain", "backward_transfer", "forward_transfer"}


@pytest.mark.parametrize("shape", [(3, 2), (2, 3), (0, 0)])
def test_a_matrix_has_a_score_of_each_model_on_each_test(shape: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="expected one of each model on each test set"):
        TransferMatrix(("a", "b", "c"), np.zeros(shape))


def test_one_step_has_no_past_and_no_future() -> None:
    with pytest.raises(ValueError, match="at least two steps"):
        TransferMatrix(("a",), np.zeros((1, 1)))


def test_classes_are_scored_by_top_1_and_captions_by_recall() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (4, 64, 64, 3), dtype=np.uint8)
    both = EvalDataset(
        name="both",
        images=[Image.fromarray(image) for image in pixels],
        labels=(0, 1, 0, 1),
        captions=tuple((f"picture {i}",) for i in range(4)),
        class_names=("cat", "dog"),
    )
    captions = replace(both, class_names=None)
    assert (score_name(both), score_name(captions)) == ("acc1", "mean_recall@1")
    torch.manual_seed(0)
    model = load_model("mobileclip-tiny", weights=None)
    for dataset in (both, captions):
        assert 0 <= evaluate_step(model, dataset).metrics[score_name(dataset)] <= 1


def test_the_heat_map_shows_every_score_deeper_where_it_is_higher() -> None:
    names = ["2014", "2015", "2016"]
    figure = heat_map(
        100 * SCORES, "#0a0c01", row_names=names, column_names=names, x_label="x", y_label="y"
    )
    (axes,) = figure.axes
    assert [text.get_text() for text in axes.texts] == [f"{100 * s:.1f}" for s in SCORES.flat]
    places = [text.get_position() for text in axes.texts]
    assert places[:4] == [(0, 0), (1, 0), (2, 0), (0, 1)], "a row of scores is a row of cells"
    depths = [patch.get_alpha() or patch.get_facecolor()[3] for patch in axes.patches]  # pyright: ignore
    assert np.array_equal(np.argsort(depths), np.argsort(SCORES.flat))
    assert "var(--series-1)" in svg(figure)
    low, high = axes.get_ylim()
    assert low > high, "the first row is on top"


def test_the_report_has_the_means_and_the_picture(matrix: TransferMatrix, tmp_path: Path) -> None:
    page = write_matrix_report(tmp_path / "report.html", matrix, title="over time").read_text()
    for text in ("80.0%", "at its own time", "40.0%", "on the past", "20.0%", "on the future"):
        assert text in page
    assert "<svg" in page
