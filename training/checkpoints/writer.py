"""Checkpoints written while training goes on."""

from __future__ import annotations

import os
import shutil
from collections import defaultdict
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import torch
from torch import Tensor

from zoo.reinforced_data.sidecars.tensor_file import read_metadata, write_tensors, write_whole
from zoo.training.checkpoints.description import (
    DESCRIPTION,
    Description,
    describe,
    description_text,
)
from zoo.training.checkpoints.folders import (
    checkpoint_folder,
    checkpoints,
    draft_of,
    remove_checkpoint,
)
from zoo.training.checkpoints.tensors import HostCopies, Tensors, state_tensors
from zoo.training.checkpoints.train_state import TrainState

KEPT_CHECKPOINTS = 2


class CheckpointWriter:
    """Writes checkpoints in a thread, so that training waits only for a copy in memory.

    One is written at a time. A write that failed is raised in the loop, as OSError with one
    sentence, by the next `check`, `save` or end of the `with` block; no older checkpoint is deleted
    before a newer one is whole. All processes of a run use one each; rank 0 writes.
    """

    def __init__(self) -> None:
        self._copies: defaultdict[str, HostCopies] = defaultdict(HostCopies)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="checkpoints")
        self._writing: Future[None] | None = None

    def save(self, state: TrainState) -> None:
        """Copy the state and have it written; waits for the checkpoint before, if need be."""
        self.wait()
        is_main = state.world.is_main
        files = {
            name: self._copies[name].take(tensors, keep=is_main)
            for name, tensors in state_tensors(state).items()
        }
        description = describe(state)
        if is_main:
            folder = checkpoint_folder(state.recipe.output, state.step)
            self._writing = self._thread.submit(_write_checkpoint, folder, files, description)

    def check(self) -> None:
        """Raise OSError when a write has failed; does not wait for one that goes on."""
        if self._writing is not None and self._writing.done():
            self.wait()

    def wait(self) -> None:
        """Return when all is written; raise OSError when a write has failed."""
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.result()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Wait until all is written; an error that ends the block is not replaced by another."""
        self._thread.shutdown(wait=True)
        if error is None:
            self.wait()


def _write_checkpoint(folder: Path, files: Mapping[str, Tensors], description: Description) -> None:
    """Write a checkpoint beside the older ones, and only then drop the oldest."""
    draft = draft_of(folder)
    try:
        draft.mkdir()
        _write_files(draft, files, description)
        draft.rename(folder)
        _flush_folder(folder.parent)
    except OSError as error:
        shutil.rmtree(draft, ignore_errors=True)
        raise OSError(
            f"The checkpoint '{folder}' could not be written ({error.strerror}); make room or "
            f"mend the disk, then resume: {_latest(folder.parent)}."
        ) from error
    for old in checkpoints(folder.parent)[:-KEPT_CHECKPOINTS]:
        remove_checkpoint(old)


def _write_files(draft: Path, files: Mapping[str, Tensors], description: Description) -> None:
    digests: dict[str, str] = {}
    for name, tensors in files.items():
        write_tensors(draft / name, {key: _array(value) for key, value in tensors.items()}, {})
        digests[name] = read_metadata(draft / name)["data_sha256"]
    write_whole(draft / DESCRIPTION, [description_text(description, digests)])
    _flush_folder(draft)


def _array(tensor: Tensor) -> np.ndarray:
    """numpy has no bfloat16: `write_tensors` takes its bits."""
    return (tensor.view(torch.uint16) if tensor.dtype == torch.bfloat16 else tensor).numpy()


def _latest(output: Path) -> str:
    saved = checkpoints(output)
    return f"'{saved[-1].name}' is whole" if saved else "there is no checkpoint before it"


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
