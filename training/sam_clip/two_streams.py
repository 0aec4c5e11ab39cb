"""Batches of pictures and batches of prompts, dealt out in pairs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor

from zoo.reinforced_data.sidecars.header import TeacherInfo
from zoo.training.checkpoints.train_state import BatchLoader


class TwoStreams:
    """A `BatchLoader` whose batches hold the keys of a batch of each of two loaders.

    A pass is one over the `pictures`; the `masks` go on beside it, round and round, whatever the
    lengths of both.
    """

    def __init__(self, pictures: BatchLoader, masks: BatchLoader) -> None:
        self._pictures, self._masks = pictures, masks

    @property
    def teachers(self) -> Mapping[str, TeacherInfo]:
        """Those whose embeddings the pictures carry."""
        return self._pictures.teachers

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        masks = _round_and_round(self._masks)
        for batch in self._pictures:
            yield batch | next(masks)

    def state_dict(self) -> dict[str, Any]:
        """Return the places in both after the last batch that was yielded."""
        return {"pictures": self._pictures.state_dict(), "masks": self._masks.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go to the places that `state_dict` returned.

        Raises ValueError where the data or batches of one of them are others.
        """
        self._pictures.load_state_dict(state["pictures"])
        self._masks.load_state_dict(state["masks"])


def _round_and_round(loader: BatchLoader) -> Iterator[dict[str, Tensor]]:
    while True:
        yield from loader
