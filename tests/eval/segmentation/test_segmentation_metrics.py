"""mIoU is over the whole data set, without ignored pixels and classes that are not there.

.venv/bin/pytest tests/eval/segmentation/test_segmentation_metrics.py
"""

from __future__ import annotations

import pytest
import torch

from zoo.eval.segmentation.metrics import PixelScores

NAMES = ("a", "b", "c", "d")


def test_figures_are_those_of_the_confusion_matrix_by_hand() -> None:
    scores = PixelScores(4)
    # a: 2 right, 1 called b; b: 1 right; 255 is not counted; c is only predicted; d nowhere.
    scores.add(torch.tensor([[0, 0, 1], [1, 3, 2]]), torch.tensor([[0, 0, 0], [1, 255, 1]]))
    assert scores.figures(NAMES) == pytest.approx(
        {
            "miou": (2 / 3 + 1 / 3 + 0) / 3,
            "pixel_accuracy": 3 / 5,
            "iou/a": 2 / 3,
            "iou/b": 1 / 3,
            "iou/c": 0.0,
        }
    )


def test_pictures_add_up_before_the_ratio_and_agree_with_torchmetrics_own() -> None:
    from torchmetrics.classification import MulticlassJaccardIndex

    torch.manual_seed(0)
    scores = PixelScores(4)
    reference = MulticlassJaccardIndex(num_classes=4, ignore_index=255)
    for size in (5, 9):
        predicted = torch.randint(0, 3, (size, 7))  # class 3 is nowhere
        truth = torch.randint(0, 3, (size, 7))
        truth[0, :3] = 255
        scores.add(predicted, truth)
        reference.update(predicted, truth)
    figures = scores.figures(NAMES)
    assert figures["miou"] == pytest.approx(float(reference.compute()))
    assert "iou/d" not in figures


def test_nothing_but_ignored_pixels_is_a_sentence() -> None:
    scores = PixelScores(2)
    scores.add(torch.zeros(2, 2, dtype=torch.int64), torch.full((2, 2), 255))
    with pytest.raises(ValueError, match="Every pixel is ignored"):
        scores.figures(("a", "b"))
