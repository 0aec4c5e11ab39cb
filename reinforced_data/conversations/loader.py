"""Training batches of conversations about pictures.

A batch is a dict of tensors, rows padded on the right:

    input_ids        int64 (B, T)              IMAGE_TOKEN_INDEX once for every visual token
    labels           int64 (B, T)              the ids that are to be said, else -100; not shifted
    attention_mask   int64 (B, T)              0 at padding
    images           uint8 (B, V, 3, S, S)     views of the pictures, 0…255; V at least 1
    views            int64 (B,)                how many of them are real; 0 of text alone

A conversation that cannot be used is reported and left out, and none takes its place unseen. What
its record shows (its form, a picture that is not there) is known before the first batch, and the
order closes up. What only reading it shows (a damaged picture, no answer within `max_length`)
leaves its row blank: one token of padding and no label, so that it adds nothing to a loss. No row
depends on what failed before it, which keeps the batches a function of their number on any number
of ranks and workers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from zoo.models.fastvlm.views import Views
from zoo.reinforced_data.conversations.batches import (
    Batch,
    ConversationBatches,
    Made,
    Request,
)
from zoo.reinforced_data.conversations.index import ConversationIndex
from zoo.reinforced_data.conversations.order import ConversationOrder, LengthGrouping
from zoo.reinforced_data.conversations.problems import Problems
from zoo.reinforced_data.conversations.samples import Encoder
from zoo.reinforced_data.conversations.sources import ConversationSource
from zoo.reinforced_data.loading.batch_stream import BatchStream, made_by_workers
from zoo.reinforced_data.loading.batches import Slice
from zoo.reinforced_data.sidecars.header import TeacherInfo

_BYTES_PER_TOKEN = 4
"""Of English text, roughly: lengths are estimated for grouping alone."""
_MOST_FAILURES = 100
"""Rows in a row that may be blank: more are not single damaged samples."""


class ConversationLoader(BatchStream):
    """Conversations of one or more sources; see `BatchStream` for their order.

    An epoch is a pass, which shows every source as often as its weight says.
    """

    def __init__(
        self,
        sources: Sequence[ConversationSource],
        *,
        tokenizer: Any,
        views: Views,
        tokens_per_view: int,
        batch_size: int,
        max_length: int,
        group_by_length: bool = False,
        random_image_position: bool = False,
        seed: int = 0,
        num_workers: int = 0,
        pin_memory: bool = False,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        """Read the records of all sources once to list where they lie.

        Args:
            sources: of `conversation_sources`.
            tokenizer: the model's.
            views: makes the views of a picture; the model's.
            tokens_per_view: visual tokens that a view becomes.
            batch_size: rows of this rank's batches.
            max_length: tokens of a row, visual ones too; see `Encoder`.
            group_by_length: samples of like length in a batch; see `LengthGrouping`.
            random_image_position: the picture before or behind the question; see `Encoder`.
            seed: of the order and the pictures' positions.
            num_workers: processes that prepare batches; 0 prepares them in this one.
            pin_memory: put batches where a CUDA device reads them without a copy by the CPU.
            rank: which part of every global batch is made here, 0 … world_size - 1; rank 0 reports
                what its records show, every rank what reading its own samples shows.
            world_size: number of processes that train together.

        Raises FileNotFoundError for a file or image folder that is not there, and ValueError for
        damaged files, a source of whose conversations less than half can be used, and fewer samples
        than a global batch.
        """
        assert 0 <= rank < world_size
        self._left_out = Problems("It is left out.", silent=rank > 0)
        self._blank = Problems("Its row is blank.")
        self._indexes = [source.index(self._left_out) for source in sources]
        self._weights = [source.weight for source in sources]
        part = Slice(batch_size, rank, world_size)
        self._order = ConversationOrder(
            list(map(len, self._indexes)),
            self._weights,
            seed=seed,
            grouping=_grouping(self._indexes, tokens_per_view, part) if group_by_length else None,
        )
        super().__init__(part, len(self._order))
        encoder = Encoder(
            tokenizer=tokenizer,
            views=views,
            tokens_per_view=tokens_per_view,
            max_length=max_length,
            random_image_position=random_image_position,
            seed=seed,
        )
        self._batches = ConversationBatches([index.reader for index in self._indexes], encoder)
        self.seed, self._num_workers, self._pin_memory = seed, num_workers, pin_memory
        # The lengths that batches are grouped by depend on it.
        self._grouping = f"with {tokens_per_view} tokens a view" if group_by_length else "no"
        self._failed_in_a_row = 0

    @property
    def teachers(self) -> Mapping[str, TeacherInfo]:
        """None: nothing is distilled."""
        return {}

    @property
    def left_out(self) -> int:
        """Records that cannot be used and are in no pass."""
        return self._left_out.count

    @property
    def skipped(self) -> int:
        """Blank rows in the batches that this process has given out."""
        return self._blank.count

    def _start(self) -> Iterator[Made | OSError]:
        return made_by_workers(
            self._batches,
            _Requests(self),
            num_workers=self._num_workers,
            pin_memory=self._pin_memory,
        )

    def _received(self, made: Made) -> Batch:
        for failure in made.failures:
            if failure is None:
                self._failed_in_a_row = 0
                continue
            self._blank.add(failure)
            self._failed_in_a_row += 1
            if self._failed_in_a_row > _MOST_FAILURES:
                raise ValueError(
                    f"More than {_MOST_FAILURES} conversations in a row cannot be used; the last: "
                    f"{failure}"
                )
        return made.batch

    def requests(self, number: int) -> list[Request]:
        """Return what this rank's part of global batch `number` holds."""
        start = self._part.start(number)
        rows = self._order.rows(start, start + self._part.batch_size)
        return [
            Request(start + i, source, self._indexes[source].place(row))
            for i, (source, row) in enumerate(rows)
        ]

    def _identity(self) -> dict[str, int | str]:
        data = [
            f"{index.fingerprint()}×{weight:g}"
            for index, weight in zip(self._indexes, self._weights, strict=True)
        ]
        return {
            "seed": self.seed,
            "global_batch_size": self._part.global_batch,
            "samples": self.samples,
            "data": ",".join(data),
            "group_by_length": self._grouping,
        }


class _Requests:
    """What the batches from the present place on hold, without end."""

    def __init__(self, loader: ConversationLoader) -> None:
        self._loader = loader

    def __iter__(self) -> Iterator[list[Request]]:
        number = self._loader.position
        while True:
            yield self._loader.requests(number)
            number += 1


def _grouping(
    indexes: Sequence[ConversationIndex], tokens_per_view: int, part: Slice
) -> LengthGrouping:
    text = np.concatenate([index.text_bytes for index in indexes])
    pictures = np.concatenate([index.pictures for index in indexes])
    lengths = text // _BYTES_PER_TOKEN + pictures * np.int32(tokens_per_view)
    return LengthGrouping(lengths, pictures > 0, part.global_batch)
