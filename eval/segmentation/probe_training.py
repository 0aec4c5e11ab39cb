"""Training a head on a model's frozen features.

Every step is drawn from the seed and its number alone, so that a training that was stopped goes on
to the same head.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from zoo.eval.features import Progress, ProgressCallback, evaluation_mode
from zoo.eval.segmentation.labelled_pictures import IGNORED, LabelledPicture
from zoo.eval.segmentation.probe_features import Where, feature_grid
from zoo.eval.segmentation.probe_heads import HeadName, build_head
from zoo.eval.segmentation.probe_state import ProbeFile
from zoo.models.image_text_model import ImageTextModel
from zoo.models.sam_clip.frame import enlarged, squashed

POWER = 0.9
"""Of the polynomial decay of the learning rate (DeepLab's)."""


@dataclass(frozen=True, kw_only=True)
class ProbeSettings:
    """How a head is trained."""

    head: HeadName = "linear"
    features: Where = "tower"
    image_size: int = 448
    """Side of the squares, in pixels."""
    steps: int = 4000
    batch_size: int = 16
    learning_rate: float = 1e-3
    weight_decay: float = 1e-2
    seed: int = 0

    def __post_init__(self) -> None:
        if self.steps < 1 or self.learning_rate <= 0:
            raise ValueError(
                f"steps is {self.steps} and learning_rate {self.learning_rate}; give more than 0."
            )
        if self.batch_size < 2:
            raise ValueError(
                f"batch_size is {self.batch_size}; the heads' BatchNorm needs at least 2 pictures."
            )


class Trainer:
    """A head, the frozen features that it reads, and how it is trained."""

    def __init__(
        self,
        model: ImageTextModel,
        pictures: Sequence[LabelledPicture],
        settings: ProbeSettings,
        classes: int,
    ) -> None:
        self.model, self.pictures, self.settings = model, pictures, settings
        self.grid = feature_grid(model, settings.features)
        self.weight = next(model.parameters())
        with torch.random.fork_rng():
            torch.manual_seed(settings.seed)
            self.head = build_head(settings.head, self._channels(), classes)
        self.head.to(self.weight.device)

    def run(self, file: ProbeFile, progress: ProgressCallback | None) -> None:
        settings = self.settings
        optimizer = torch.optim.AdamW(
            self.head.parameters(), settings.learning_rate, weight_decay=settings.weight_decay
        )
        first = file.restore(self.head, optimizer)
        start = time.perf_counter()
        self.head.train()
        for step in range(first, settings.steps):
            rate = settings.learning_rate * (1 - step / settings.steps) ** POWER
            optimizer.param_groups[0]["lr"] = rate
            self._step(step, optimizer)
            file.save(self.head, optimizer, step + 1)
            if progress is not None:
                # The rate is that of this run: steps that an earlier one took are not counted.
                done, total = step + 1 - first, settings.steps - first
                progress(Progress(done=done, total=total, seconds=time.perf_counter() - start))
        if first < settings.steps:
            file.finish(self.head, settings.steps)
        self.head.eval()

    def logits(self, squares: Tensor) -> Tensor:
        """Return logits (B, classes, h, w) of normalised squares (B, 3, S, S)."""
        return self.head(self._features(squares))

    def square(self, picture: LabelledPicture) -> tuple[Tensor, Tensor]:
        """Return a picture as the model's square (3, S, S) and its classes (H, W)."""
        image, classes = picture.read()
        return squashed(image, self.settings.image_size, self.model.preprocessing), classes

    def _step(self, step: int, optimizer: torch.optim.Optimizer) -> None:
        squares, classes = self._batch(step)
        with torch.random.fork_rng():
            # Dropout is drawn anew for each step, so that a run can go on at any of them.
            torch.manual_seed(_seed(self.settings.seed, step))
            logits = self.logits(squares)
        loss = _cross_entropy(logits, classes.to(logits.device))
        if not loss.isfinite():
            raise ValueError(
                f"The loss of step {step} is {loss.item()}: features or labels are broken, or "
                "--learning-rate is too high."
            )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    def _batch(self, step: int) -> tuple[Tensor, Tensor]:
        """Squares (B, 3, S, S) and classes (B, S, S), half of them mirrored."""
        size = self.settings.image_size
        squares, labels = [], []
        for number in range(step * self.settings.batch_size, (step + 1) * self.settings.batch_size):
            index, mirrored = self._drawn(number)
            square, classes = self.square(self.pictures[index])
            classes = F.interpolate(classes[None, None].float(), (size, size), mode="nearest-exact")
            classes = classes[0, 0].long()
            squares.append(square.flip(-1) if mirrored else square)
            labels.append(classes.flip(-1) if mirrored else classes)
        return torch.stack(squares), torch.stack(labels)

    def _drawn(self, number: int) -> tuple[int, bool]:
        """The `number`-th picture of the training, every one once before any comes again."""
        epoch, place = divmod(number, len(self.pictures))
        order = _order(self.settings.seed, epoch, len(self.pictures))
        mirrored = np.random.default_rng((self.settings.seed, number, 1)).random() < 0.5
        return int(order[place]), bool(mirrored)

    def _features(self, squares: Tensor) -> Tensor:
        with evaluation_mode(self.model):
            return self.grid(squares.to(self.weight.device, self.weight.dtype)).float()

    def _channels(self) -> int:
        size = self.settings.image_size
        return self._features(torch.zeros(1, 3, size, size)).shape[1]


@lru_cache(maxsize=1)
def _order(seed: int, epoch: int, count: int) -> NDArray[np.int64]:
    return np.random.default_rng((seed, epoch)).permutation(count)


def _cross_entropy(logits: Tensor, classes: Tensor) -> Tensor:
    """Mean over the pixels (B, S, S) that have a class; 0 where none has."""
    logits = enlarged(logits, *classes.shape[1:])
    total = F.cross_entropy(logits, classes, ignore_index=IGNORED, reduction="sum")
    return total / (classes != IGNORED).sum().clamp(min=1)


def _seed(seed: int, step: int) -> int:
    return int(np.random.SeedSequence((seed, step)).generate_state(1)[0])
