"""A class for every pixel of a picture, from dense features and class names.

Shape suffixes: Q queries, D features, H and W the picture's pixels, h and w a grid's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import reduce
from typing import TYPE_CHECKING

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from zoo.eval.features import ProgressCallback, evaluation_mode, require_finite
from zoo.eval.segmentation.class_names import Classes
from zoo.eval.segmentation.dense_features import dense_features_of
from zoo.eval.segmentation.protocols import Protocol, make_queries, window_starts
from zoo.eval.zero_shot import classifier_weights
from zoo.models.image_text_model import MAX_LOGIT_SCALE
from zoo.models.sam_clip.frame import enlarged, resized

if TYPE_CHECKING:
    from zoo.models.image_text_model import ImageTextModel

_LONGEST = 2048
"""Longer side in pixels that a picture under the window may have (`scale` of SCLIP's configs)."""
_WINDOWS_AT_ONCE = 16
_QUERIES_AT_ONCE = 32
"""Maps of the picture's size at once: with a hundred times as many as the decoder sees, a large
photo would take gigabytes."""


class PixelClassifier:
    """Picture → classes int64 (H, W) on the CPU.

    Raises ValueError for a model without dense features.
    """

    def __init__(
        self,
        model: ImageTextModel,
        classes: Classes,
        protocol: Protocol,
        templates: Sequence[str],
        *,
        progress: ProgressCallback | None = None,
    ) -> None:
        """`progress` is called as the texts, queries × templates, are encoded."""
        self._model = model
        self._protocol = protocol
        self._features = dense_features_of(model)
        queries = make_queries(classes, protocol)
        weight = next(model.parameters())
        encoded = classifier_weights(model, queries.texts, templates, progress=progress)
        self._queries = encoded.to(weight.device)
        self._classes = torch.tensor(queries.classes, device=weight.device)
        self._scale = protocol.logit_scale or min(
            float(model.logit_scale.detach().exp()), MAX_LOGIT_SCALE
        )

    def __call__(self, picture: Image.Image) -> Tensor:
        """Return the classes of an RGB picture.

        Raises ValueError where features are not finite, or the image size does not fit the model.
        """
        size = picture.height, picture.width
        with evaluation_mode(self._model):
            cosines = (
                self._square(picture) if self._protocol.window is None else self._slid(picture)
            )
            return self._decided(cosines, size).cpu()

    def _square(self, picture: Image.Image) -> Tensor:
        side = self._protocol.image_size
        return self._cosines(self._pixels(picture, side, side))[0]

    def _slid(self, picture: Image.Image) -> Tensor:
        """Cosines (Q, h, w) at the resized picture's pixels, averaged where windows overlap."""
        window, stride = self._protocol.window, self._protocol.stride
        assert window is not None and stride is not None
        pixels = self._pixels(
            picture, *_size_under_window(picture.size, self._protocol.image_size, window)
        )
        height, width = pixels.shape[2:]
        corners = [
            (top, left)
            for top in window_starts(height, window, stride)
            for left in window_starts(width, window, stride)
        ]
        total = pixels.new_zeros((len(self._queries), height, width), dtype=torch.float32)
        count = pixels.new_zeros((height, width), dtype=torch.float32)
        for first in range(0, len(corners), _WINDOWS_AT_ONCE):
            places = [
                (slice(top, top + window), slice(left, left + window))
                for top, left in corners[first : first + _WINDOWS_AT_ONCE]
            ]
            crops = torch.cat([pixels[:, :, rows, columns] for rows, columns in places])
            for (rows, columns), cosines in zip(places, self._cosines(crops), strict=True):
                total[:, rows, columns] += enlarged(cosines[None], window, window)[0]
                count[rows, columns] += 1
        return total / count

    def _cosines(self, pixels: Tensor) -> Tensor:
        """(B, Q, h, w) of normalised pictures (B, 3, H, W)."""
        weight = next(self._model.parameters())
        features = self._features(pixels.to(weight.dtype)).float()
        require_finite("dense features", features.flatten(0, 2))
        return torch.einsum("bhwd,qd->bqhw", F.normalize(features, dim=-1), self._queries)

    def _decided(self, cosines: Tensor, size: tuple[int, int]) -> Tensor:
        protocol, logits = self._protocol, cosines * self._scale
        query, best = _strongest(logits, size)
        classes = self._classes[query]
        if protocol.least_area and (small := self._small_classes(classes)).any():
            kept = ~small[self._classes]
            query, best = _strongest(logits[kept], size)
            classes = self._classes[kept][query]
        if protocol.background_threshold:
            probability = (best - _log_sum(logits, size)).exp()
            classes[probability < protocol.background_threshold] = 0
        return classes

    def _small_classes(self, classes: Tensor) -> Tensor:
        """Which foreground classes have too small a share of the foreground, bool (classes,)."""
        areas = torch.bincount(classes.flatten(), minlength=int(self._classes.max()) + 1)
        areas[0] = 0
        small = areas <= self._protocol.least_area * areas.sum()
        small[0] = False
        return small

    def _pixels(self, picture: Image.Image, width: int, height: int) -> Tensor:
        preprocessing = self._model.preprocessing
        pixels = resized(picture, width, height, preprocessing.interpolation)
        return preprocessing.normalize(pixels)[None].to(self._queries.device)


def _strongest(logits: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Of logits (Q, h, w) upsampled to `size`: the best query of each pixel and its logit (H, W).

    The logits are upsampled, not the classes (the paper's body; its appendix resizes classes).
    """
    maps = _upsampled_parts(logits, size)
    best, query = next(maps).max(dim=0)
    for number, part in enumerate(maps, start=1):
        value, place = part.max(dim=0)
        query = torch.where(value > best, place + number * _QUERIES_AT_ONCE, query)
        best = torch.maximum(best, value)
    return query, best


def _log_sum(logits: Tensor, size: tuple[int, int]) -> Tensor:
    """Logarithm of the sum over the queries of the exponentials at each pixel, (H, W)."""
    sums = (part.logsumexp(dim=0) for part in _upsampled_parts(logits, size))
    return reduce(torch.logaddexp, sums)


def _upsampled_parts(logits: Tensor, size: tuple[int, int]) -> Iterator[Tensor]:
    return (enlarged(part[None], *size)[0] for part in logits.split(_QUERIES_AT_ONCE))


def _size_under_window(size: tuple[int, int], short_side: int, window: int) -> tuple[int, int]:
    """Width and height with the shorter side `short_side` and the longer at most 2048, but neither
    below the window: SCLIP would show a strip to the model, which takes squares only.
    """
    scale = min(short_side / min(size), max(_LONGEST, short_side) / max(size))
    width, height = (max(window, int(side * scale + 0.5)) for side in size)
    return width, height
