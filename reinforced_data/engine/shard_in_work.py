"""A shard that this process holds the lock of, until its sidecar is written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from zoo.reinforced_data.engine.claims import SidecarLock
from zoo.reinforced_data.engine.locations import ShardTask, Workplace
from zoo.reinforced_data.engine.plan import Plan, make_plan
from zoo.reinforced_data.engine.prepare import Part, PreparedPart, ShardRecipe
from zoo.reinforced_data.engine.settings import OnError, Reinforcement
from zoo.reinforced_data.shards.index import DIGEST_BYTES, ShardIndex
from zoo.reinforced_data.shards.tar_index import DamagedTarError
from zoo.reinforced_data.sidecars.embedding_storage import EmbeddingRows
from zoo.reinforced_data.sidecars.sidecar import Sidecar, SidecarRows, write_sidecar


class ComputedPart(NamedTuple):
    """What teachers and captioner said of n samples."""

    prepared: PreparedPart
    captions: list[tuple[str, ...]]
    images: dict[str, np.ndarray]
    """By teacher: float32 (n, A, D)."""
    texts: dict[str, np.ndarray]
    """By teacher: float32 (n, 1+C, D)."""


@dataclass(frozen=True)
class ShardInWork:
    """A claimed shard: what is to be computed, and the rows computed so far."""

    plan: Plan
    """With the properties of the shard in its header."""
    kept: Sidecar | None
    """The sidecar that is extended."""
    rows: SidecarRows
    parts: Sequence[Part]
    """All of them, in order."""
    workplace: Workplace
    lock: SidecarLock

    def fill(self, part: ComputedPart) -> None:
        """Put the results of a part into the rows.

        Raises ValueError for embeddings that are not finite, and for samples whose content is not
        that of the sidecar which is extended.
        """
        prepared, rows = part.prepared, self.rows
        used = prepared.used
        self._check_digests(prepared)
        if self.kept is None:
            rows.digests[prepared.part.rows] = prepared.digests
            rows.valid[used] = True
            rows.augment_params[used] = prepared.params
        for i, captions in zip(used, part.captions, strict=True):
            rows.captions[i] = captions
        for name, embeddings in part.images.items():
            rows.image_embeddings[name].put(used, embeddings)
        for name, embeddings in part.texts.items():
            rows.text_embeddings[name].put(used, embeddings)

    def write(self) -> None:
        """Write the sidecar and let go of the shard."""
        write_sidecar(self.workplace.sidecar, self.plan.header, self.rows)
        self.workplace.publish()
        self.let_go()

    def let_go(self) -> None:
        """Remove copies and let others take the shard."""
        self.workplace.clear()
        self.lock.release()

    def _check_digests(self, prepared: PreparedPart) -> None:
        if self.kept is None:
            return
        places = [i - prepared.part.rows.start for i in prepared.used]
        same = (self.kept.digests[prepared.used] == prepared.digests[places]).all(axis=1)
        if not same.all():
            key = self.rows.keys[prepared.used[int(np.argmin(same))]]
            raise ValueError(
                f"Sample '{key}' of '{self.workplace.task.shard}' is not the one that "
                f"'{self.kept.path}' was made from: it has changed; overwrite the sidecar."
            )


class UnusableShard(ValueError):
    """A shard of which no sample can be read."""


def is_finished(task: ShardTask, settings: Reinforcement) -> bool:
    """Say whether nothing is left to do; reads all of a local sidecar, the header of one at a URL.

    Raises ValueError when it is damaged, was made with other settings or from another shard.
    """
    plan = make_plan(task.stored_header(), settings, task.sidecar)
    if plan.complete and isinstance(task.sidecar, Path):
        sidecar = Sidecar.open(task.sidecar)
        sidecar.verify()
        if isinstance(task.shard, Path):
            _check_belongs(sidecar, task.shard, ShardIndex(task.shard, "skip"))
    return plan.complete


def claim(task: ShardTask, settings: Reinforcement, folder: Path) -> ShardInWork | bool:
    """Take a shard: what is to be done for it, or whether nothing is (True: its sidecar is
    finished; False: another run is writing it).

    Raises `UnusableShard`, and ValueError for a sidecar that is damaged or cannot be extended.
    """
    workplace = Workplace(task, folder)
    lock = SidecarLock(workplace.sidecar)
    if not lock.acquire():
        return False
    taken = False
    try:
        # Only now that nobody else can write it, the sidecar says what is left to do.
        stored = task.stored_header()
        plan = make_plan(stored, settings, task.sidecar)
        if plan.complete:
            return True
        shard = _open(plan, settings, workplace, lock, extends=stored is not None)
        taken = True
        return shard
    finally:
        if not taken:
            workplace.clear()
            lock.release()


def _open(
    plan: Plan, settings: Reinforcement, workplace: Workplace, lock: SidecarLock, *, extends: bool
) -> ShardInWork:
    path = workplace.shard()
    # Samples that the sidecar marks as not valid have been skipped before.
    on_error = "skip" if extends else settings.on_error
    index = _index(path, on_error)
    kept = Sidecar.open(workplace.stored_sidecar()) if extends else None
    if kept is not None:
        kept.verify()
        _check_belongs(kept, path, index)
    header = replace(
        plan.header, shard=path.name, shard_bytes=path.stat().st_size, samples=len(index)
    )
    plan = replace(plan, header=header)
    recipe = ShardRecipe(
        task=workplace.task.number,
        shard=path,
        kept=kept.path if kept else None,
        policy=header.augmentation,
        augmentations=header.augmentations,
        seed=header.seed,
        preparations=tuple({t.image_size: t.preparation for t in plan.image_teachers}.values()),
        pictures=plan.writes_captions,
        on_error=on_error,
    )
    at_once = max(1, settings.batch_size // header.augmentations)
    parts = tuple(_parts(recipe, len(index), at_once))
    return ShardInWork(plan, kept, _rows(plan, index, kept), parts, workplace, lock)


def _index(path: Path, on_error: OnError) -> ShardIndex:
    try:
        return ShardIndex(path, on_error)
    except DamagedTarError as error:
        raise UnusableShard(f"{error} `zoo data repair` saves what can be saved.") from error
    except ValueError as error:
        raise UnusableShard(str(error)) from error


def _check_belongs(sidecar: Sidecar, shard: Path, index: ShardIndex) -> None:
    sidecar.check_shard(shard, index.keys)
    before, now = sidecar.header.shard_bytes, shard.stat().st_size
    if before != now:
        raise ValueError(
            f"'{sidecar.path}' was made from a shard of {before} bytes, but '{shard}' has {now}: "
            "it has changed; overwrite the sidecar."
        )


def _parts(recipe: ShardRecipe, samples: int, at_once: int) -> Iterator[Part]:
    for start in range(0, samples, at_once):
        yield Part(recipe, range(start, min(start + at_once, samples)))


def _rows(plan: Plan, index: ShardIndex, kept: Sidecar | None) -> SidecarRows:
    """What is kept, and zeros for what is to be computed."""
    n, header = len(index), plan.header
    a, c = header.augmentations, header.captions
    rows = SidecarRows(
        keys=index.keys,
        digests=np.zeros((n, DIGEST_BYTES), np.uint8),
        valid=np.zeros(n, bool),
        augment_params=np.zeros((n, a, len(header.augmentation.columns)), np.float32),
        captions=[("",) * c for _ in range(n)],
        image_embeddings={
            info.name: EmbeddingRows.zeros((n, a, info.embed_dim), info.storage)
            for info in header.teachers
            if info.name in {teacher.name for teacher in plan.image_teachers}
        },
        text_embeddings={
            info.name: EmbeddingRows.zeros((n, 1 + c, info.embed_dim), info.storage)
            for info in header.teachers
            if info.name in {teacher.name for teacher in plan.text_teachers}
        },
    )
    return rows if kept is None else _with_kept(rows, plan, kept)


def _with_kept(rows: SidecarRows, plan: Plan, kept: Sidecar) -> SidecarRows:
    images = {name: kept.stored("image", name) for name in kept.teachers}
    texts = {name: kept.stored("text", name) for name in kept.teachers}
    captions = rows.captions
    if not plan.writes_captions:
        captions = [kept.captions(i) for i in range(len(rows.keys))]
    return replace(
        rows,
        digests=kept.digests,
        valid=kept.valid,
        augment_params=kept.all_augment_params,
        captions=captions,
        image_embeddings=images | dict(rows.image_embeddings),
        text_embeddings=texts | dict(rows.text_embeddings),
    )
