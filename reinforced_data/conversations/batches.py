"""Whole batches of conversations, as the loader's worker processes make them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from zoo.reinforced_data.conversations.index import Place, Reader
from zoo.reinforced_data.conversations.samples import IGNORED, Encoder, Example

Batch = dict[str, Tensor]


class Request(NamedTuple):
    """One row of a batch to be made."""

    showing: int
    """Its place in the order of all showings."""
    source: int
    place: Place


class Made(NamedTuple):
    """A batch, and what failed."""

    batch: Batch
    failures: tuple[str | None, ...]
    """Of each row: None, or a sentence that says why it is blank."""


class ConversationBatches(Dataset[Made | OSError]):
    """Batches by what they are to hold; an error is returned, since torch would bury it."""

    def __init__(self, readers: Sequence[Reader], encoder: Encoder) -> None:
        self._readers, self._encoder = tuple(readers), encoder
        pad = encoder.tokenizer.pad_token_id
        self._pad = 0 if pad is None else int(pad)

    def __getitem__(self, requests: Sequence[Request]) -> Made | OSError:
        try:
            rows = [self._row(request) for request in requests]
        except OSError as error:
            return error
        failures = tuple(row if isinstance(row, str) else None for row in rows)
        return Made(
            self._join([self._blank() if isinstance(r, str) else r for r in rows]), failures
        )

    def _row(self, request: Request) -> Example | str:
        reader = self._readers[request.source]
        try:
            return self._encoder(reader.read(request.place), request.showing)
        except ValueError as error:
            return f"{reader.describe(request.place)} {error}"

    def _blank(self) -> Example:
        """A row in which nothing is said: it adds nothing to a loss."""
        size = self._encoder.views.preprocessing.image_size
        views = torch.empty(0, 3, size, size, dtype=torch.uint8)
        return Example(np.array([self._pad]), np.array([IGNORED]), views)

    def _join(self, rows: Sequence[Example]) -> Batch:
        return {
            "input_ids": _padded([row.ids for row in rows], self._pad),
            "labels": _padded([row.labels for row in rows], IGNORED),
            "attention_mask": _padded([np.ones_like(row.ids) for row in rows], 0),
            "images": _stacked([row.views for row in rows]),
            "views": torch.tensor([len(row.views) for row in rows]),
        }


def _padded(rows: Sequence[np.ndarray], value: int) -> Tensor:
    """(T_i,) each -> (B, T), padded on the right."""
    joined = torch.full((len(rows), max(map(len, rows))), value)
    for target, row in zip(joined, rows, strict=True):
        target[: len(row)] = torch.from_numpy(row)
    return joined


def _stacked(rows: Sequence[Tensor]) -> Tensor:
    """(V_i, 3, S, S) each -> (B, V, 3, S, S), black behind the last; V is at least 1."""
    most = max(1, *map(len, rows))
    joined = torch.zeros(len(rows), most, *rows[0].shape[1:], dtype=torch.uint8)
    for target, row in zip(joined, rows, strict=True):
        target[: len(row)] = row
    return joined
