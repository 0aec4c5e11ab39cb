"""mIoU and its companions, accumulated over all pixels of a data set."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from zoo.eval.segmentation.labelled_pictures import IGNORED


class PixelScores:
    """The confusion matrix (truth, predicted) of pixels, by torchmetrics, and its figures.

    Raises ValueError where torchmetrics is not installed.
    """

    def __init__(self, class_count: int) -> None:
        try:
            from torchmetrics.classification import MulticlassConfusionMatrix
        except ModuleNotFoundError as error:
            raise ValueError("Segmentation is scored by torchmetrics; install zoo[seg].") from error
        # The readers have checked the labels; torchmetrics would look for unique ones every time.
        self._matrix: Any = MulticlassConfusionMatrix(
            num_classes=class_count, ignore_index=IGNORED, validate_args=False
        )

    def add(self, predicted: Tensor, truth: Tensor) -> None:
        """Count the pixels of class maps int64 (H, W); those of truth IGNORED are left out."""
        self._matrix.update(predicted.cpu(), truth.cpu())

    def class_ious(self) -> Tensor:
        """Return the IoU of each class, float64; NaN where no pixel is or was called the class."""
        matrix = self._matrix.compute().double()
        both = matrix.diagonal()
        return both / (matrix.sum(dim=0) + matrix.sum(dim=1) - both)

    def figures(self, names: Sequence[str]) -> dict[str, float]:
        """Return `miou`, `pixel_accuracy` and each class's `iou/NAME`, fractions.

        A class that is neither in the truth nor among the predictions has no IoU and does not enter
        the mean; one that is only predicted has 0 (`IoUMetric` of mmsegmentation).

        Raises ValueError where every pixel was ignored.
        """
        matrix = self._matrix.compute().double()
        if not matrix.sum():
            raise ValueError("Every pixel is ignored: the labels hold none of the classes.")
        ious = self.class_ious()
        by_class = {
            f"iou/{name}": float(iou)
            for name, iou in zip(names, ious, strict=True)
            if not torch.isnan(iou)
        }
        accuracy = matrix.diagonal().sum() / matrix.sum()
        return {"miou": float(ious.nanmean()), "pixel_accuracy": float(accuracy)} | by_class
