"""Many shards through the teachers: prepared in worker processes, looked at here, written beside.

    workers: decode, replay, resize ──uint8──► main thread: teachers, captioner ──► thread: store

Batches begin anew with every shard, so that its bytes depend neither on the number of workers nor
on who else works on the list.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from torch import Tensor
from torch.utils.data import DataLoader

from zoo.reinforced_data.engine.captioners.protocol import Captioner
from zoo.reinforced_data.engine.locations import ShardTask
from zoo.reinforced_data.engine.prepare import Part, PreparedPart, PreparedParts
from zoo.reinforced_data.engine.progress import OnEvent, Settled, Step, Waiting
from zoo.reinforced_data.engine.settings import Reinforcement
from zoo.reinforced_data.engine.shard_in_work import (
    ComputedPart,
    ShardInWork,
    UnusableShard,
    claim,
)
from zoo.reinforced_data.engine.teachers import Teacher

T = TypeVar("T")

_SECONDS_BETWEEN_LOOKS = 0.5
_PARTS_STORED_LATER = 8


@dataclass(frozen=True)
class Skipped:
    """A sample that keeps its row but is not valid, or a shard without a sidecar; and why."""

    shard: Path | str
    key: str | None
    """None for the whole shard."""
    reason: str


@dataclass
class Outcome:
    """What came of a list of tasks; numbers of tasks."""

    written: list[int] = field(default_factory=list)
    kept: list[int] = field(default_factory=list)
    """Finished by others, before or meanwhile."""
    skipped: list[Skipped] = field(default_factory=list)
    samples: int = 0
    """Samples of the written sidecars."""


def run_tasks(
    tasks: Sequence[ShardTask],
    settings: Reinforcement,
    *,
    folder: Path,
    workers: int,
    on_event: OnEvent,
) -> Outcome:
    """Write the sidecar of every task that lacks one or a part of it; returns when all are there.

    Works on what no other run holds, then waits for the rest and takes over what is let go
    unfinished. Copies of what lies at URLs are in `folder`. A shard in work is left without a
    trace when an error or an interruption ends the run.
    """
    feed = _Feed(tasks, settings, folder, on_event)
    # The workers are forked before the first shard is claimed, so that they inherit no lock.
    loader: DataLoader[PreparedPart | Exception] = DataLoader(
        PreparedParts(),
        sampler=feed,
        batch_size=None,
        collate_fn=_as_it_is,
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=any(next(teacher.parameters()).is_cuda for teacher in settings.teachers),
    )
    try:
        while feed.pending:
            before = len(feed.pending)
            _one_pass(loader, feed, settings, on_event)
            if len(feed.pending) == before:
                on_event(Waiting(before))
                time.sleep(_SECONDS_BETWEEN_LOOKS)
    finally:
        feed.close()
    return feed.outcome


class _Feed:
    """Claims shards one after the other and gives out their parts: the loader's sampler."""

    def __init__(
        self, tasks: Sequence[ShardTask], settings: Reinforcement, folder: Path, on_event: OnEvent
    ) -> None:
        self.pending = {task.number: task for task in tasks}
        self.in_work: dict[int, ShardInWork] = {}
        self.outcome = Outcome()
        self._settings, self._folder, self._on_event = settings, folder, on_event
        self._parts: Generator[Part] | None = None

    def __iter__(self) -> Iterator[Part]:
        self._parts = self._free_parts()
        return self._parts

    def _free_parts(self) -> Generator[Part]:
        shards = self._free_shards()
        if any(isinstance(task.shard, str) for task in self.pending.values()):
            shards = _one_ahead(shards)
        with closing(shards):
            for shard in shards:
                yield from shard.parts

    def _free_shards(self) -> Generator[ShardInWork]:
        for task in list(self.pending.values()):
            try:
                shard = claim(task, self._settings, self._folder)
            except UnusableShard as error:
                if self._settings.on_error == "stop":
                    raise
                self.outcome.skipped.append(Skipped(task.shard, None, str(error)))
                self._settle(task)
                continue
            if isinstance(shard, ShardInWork):
                self.in_work[task.number] = shard
                if shard.parts:
                    yield shard
                else:
                    self.finish(shard)
            elif shard:
                self.outcome.kept.append(task.number)
                self._settle(task)

    def _settle(self, task: ShardTask) -> None:
        del self.pending[task.number]
        self._on_event(Settled(task.number))

    def finish(self, shard: ShardInWork) -> None:
        """Write the sidecar of a shard."""
        shard.write()
        number = shard.workplace.task.number
        self.outcome.written.append(number)
        self.outcome.samples += len(shard.rows.keys)
        del self.in_work[number], self.pending[number]

    def close(self) -> None:
        """Let go of all shards in work."""
        if self._parts is not None:
            self._parts.close()
        for shard in self.in_work.values():
            shard.let_go()


def _one_ahead(items: Generator[T]) -> Generator[T]:
    """Let a thread make the next item while this one is used."""
    with ThreadPoolExecutor(1, "claim") as thread, closing(items):
        upcoming = thread.submit(next, items, None)
        while (item := upcoming.result()) is not None:
            upcoming = thread.submit(next, items, None)
            yield item


def _one_pass(
    loader: DataLoader[PreparedPart | Exception],
    feed: _Feed,
    settings: Reinforcement,
    on_event: OnEvent,
) -> None:
    """Work on every shard that is free."""
    stored: deque[Future[None]] = deque()
    with ThreadPoolExecutor(1, "store") as storing:
        for prepared in _prepared(loader):
            shard = feed.in_work[prepared.part.recipe.task]
            samples, rows = len(shard.rows.keys), prepared.part.rows
            stored.append(storing.submit(shard.fill, _compute(prepared, shard, settings)))
            feed.outcome.skipped += _skipped(prepared, shard)
            if rows.stop == samples:
                stored.append(storing.submit(feed.finish, shard))
            on_event(Step(prepared.part.recipe.task, len(rows), len(rows) / samples))
            while len(stored) > _PARTS_STORED_LATER or (stored and stored[0].done()):
                stored.popleft().result()
    for future in stored:
        future.result()


def _prepared(loader: DataLoader[PreparedPart | Exception]) -> Iterator[PreparedPart]:
    parts = iter(loader)
    while True:
        try:
            prepared = next(parts, None)
        except RuntimeError as error:  # what torch makes of a worker that was killed
            raise OSError(
                f"A process that prepares pictures has ended ({error}); was there too little "
                "memory? Run again, with fewer workers."
            ) from error
        if prepared is None:
            return
        if isinstance(prepared, Exception):
            raise prepared
        yield prepared


def _skipped(prepared: PreparedPart, shard: ShardInWork) -> list[Skipped]:
    name, keys = shard.workplace.task.shard, shard.rows.keys
    return [Skipped(name, keys[i], reason) for i, reason in prepared.unusable.items()]


def _compute(prepared: PreparedPart, shard: ShardInWork, settings: Reinforcement) -> ComputedPart:
    if not prepared.used:
        return ComputedPart(prepared, [], {}, {})
    plan, at_once = shard.plan, settings.batch_size
    captions = _captions(prepared, shard, settings.captioner)
    texts = [[first, *made] for first, made in zip(prepared.captions, captions, strict=True)]
    return ComputedPart(
        prepared,
        captions,
        images={
            teacher.name: _look(teacher, prepared.views[teacher.image_size], at_once)
            for teacher in plan.image_teachers
        },
        texts={teacher.name: _read(teacher, texts, at_once) for teacher in plan.text_teachers},
    )


def _captions(
    prepared: PreparedPart, shard: ShardInWork, captioner: Captioner | None
) -> list[tuple[str, ...]]:
    if prepared.pictures is None or captioner is None:
        return [shard.rows.captions[i] for i in prepared.used]
    keys = [shard.rows.keys[i] for i in prepared.used]
    return captioner.captions(prepared.pictures.unpack(), keys, shard.plan.header.captions)


def _look(teacher: Teacher, views: Tensor, at_once: int) -> np.ndarray:
    """Embed uint8 `views` (n, A, 3, S, S): float32 (n, A, D)."""
    batches = views.flatten(0, 1).split(at_once)
    embeddings = np.concatenate([teacher.encode_pixels(batch) for batch in batches])
    return embeddings.reshape(*views.shape[:2], -1)


def _read(teacher: Teacher, texts: list[list[str]], at_once: int) -> np.ndarray:
    """Embed n lists of R texts: float32 (n, R, D)."""
    flat = [text for of_sample in texts for text in of_sample]
    batches = [flat[start : start + at_once] for start in range(0, len(flat), at_once)]
    embeddings = np.concatenate([teacher.encode_texts(batch) for batch in batches])
    return embeddings.reshape(len(texts), len(texts[0]), -1)


def _as_it_is(prepared: Any) -> Any:
    """What torch would turn into tensors stays what it is."""
    return prepared
