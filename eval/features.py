"""Features of a dataset, computed once; every metric is a function of them."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

if TYPE_CHECKING:
    from zoo.models.image_text_model import ImageTextModel
    from zoo.models.preprocess import ImageSource

Item = TypeVar("Item")


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far an encoding is."""

    done: int
    total: int
    seconds: float
    """Time since the start."""

    @property
    def rate(self) -> float:
        """Items a second since the start."""
        return self.done / max(self.seconds, 1e-9)

    @property
    def remaining_seconds(self) -> float:
        """Time to the end at this rate."""
        return (self.total - self.done) / max(self.rate, 1e-9)


ProgressCallback = Callable[[Progress], None]


def reported(items: Sequence[Item], progress: ProgressCallback | None) -> Iterator[Item]:
    """Yield the items, and say of each when it is done."""
    start = time.perf_counter()
    for done, item in enumerate(items, start=1):
        yield item
        if progress is not None:
            seconds = time.perf_counter() - start
            progress(Progress(done=done, total=len(items), seconds=seconds))


def evenly(items: Sequence[Item], limit: int | None, what: str) -> list[Item]:
    """Return `limit` items evenly spaced over all of them, or all for None.

    Raises ValueError for a limit below 1, which says `what` an item is.
    """
    if limit is None or limit >= len(items):
        return list(items)
    if limit < 1:
        raise ValueError(f"The limit is {limit}; give at least 1 {what}.")
    return [items[place * len(items) // limit] for place in range(limit)]


def image_features(
    model: ImageTextModel,
    images: Iterable[ImageSource],
    count: int,
    *,
    batch_size: int = 64,
    progress: ProgressCallback | None = None,
) -> Tensor:
    """Normalised features of `count` pictures, float32 (count, D) on the CPU.

    `images` yields anything `model.preprocess` takes; one batch is held at a time. The model runs
    in eval mode on its own device and gets its modes back.

    Raises:
        ValueError: there are more or fewer than `count` pictures, or a feature is not finite.
    """

    def encode(batch: Sequence[ImageSource]) -> Tensor:
        pixels = torch.stack([model.preprocess(source) for source in batch])
        weight = next(model.parameters())
        return model.encode_image(pixels.to(weight.device, weight.dtype))

    features = _encode_all(model, encode, images, count, batch_size, progress)
    require_finite("image features", features)
    return features


def text_features(
    model: ImageTextModel,
    texts: Sequence[str],
    *,
    batch_size: int = 256,
    progress: ProgressCallback | None = None,
) -> Tensor:
    """Normalised features of the texts, float32 (len(texts), D) on the CPU.

    Raises:
        ValueError: a feature is not finite.
    """

    def encode(batch: Sequence[str]) -> Tensor:
        return model.encode_text(model.tokenize(batch).to(next(model.parameters()).device))

    features = _encode_all(model, encode, texts, len(texts), batch_size, progress)
    require_finite("text features", features)
    return features


def require_finite(name: str, features: Tensor) -> None:
    """Raise ValueError if a row of `features` (N, D) holds NaN or infinity.

    NaN loses every comparison, so that a rank computed from it would look perfect.
    """
    bad = ~features.isfinite().all(dim=-1)
    if bad.any():
        raise ValueError(
            f"The {name} of {int(bad.sum())} of {len(features)} items are not finite (the first is "
            f"number {int(bad.nonzero()[0])}): the weights are broken or the training diverged."
        )


@contextmanager
def evaluation_mode(module: nn.Module) -> Iterator[None]:
    """Eval mode without gradients; every submodule gets its own mode back afterwards."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for part, training in modes:
            part.training = training


def _encode_all(
    model: nn.Module,
    encode: Callable[[Sequence[Item]], Tensor],
    items: Iterable[Item],
    count: int,
    batch_size: int,
    progress: ProgressCallback | None,
) -> Tensor:
    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}; give at least 1.")
    features: list[Tensor] = []
    done, start = 0, time.perf_counter()
    with evaluation_mode(model):
        for batch in _batches(items, batch_size):
            features.append(F.normalize(encode(batch).float(), dim=-1).cpu())
            done += len(batch)
            if progress is not None:
                progress(Progress(done=done, total=count, seconds=time.perf_counter() - start))
    if done != count or not done:
        raise ValueError(f"{count} items were announced but {done} were read: check the dataset.")
    return torch.cat(features)


def _batches(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    iterator = iter(items)
    while batch := list(itertools.islice(iterator, size)):
        yield batch
