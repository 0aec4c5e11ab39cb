"""What the loader reads of reinforced data, and where it finds it for a shard."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from zoo.reinforced_data.augmentation.policy import AugmentationPolicy
from zoo.reinforced_data.sidecars.header import TeacherInfo


class ReinforcementHeader(Protocol):
    """How much is stored for each sample of a shard."""

    @property
    def samples(self) -> int:
        """Samples of the shard, N."""
        ...

    @property
    def augmentations(self) -> int:
        """Recorded augmentations a sample, A."""
        ...

    @property
    def captions(self) -> int:
        """Synthetic captions a sample, C; 0 without any."""
        ...

    @property
    def augmentation(self) -> AugmentationPolicy:
        """What the augmentations were drawn from."""
        ...


class ReinforcementSource(Protocol):
    """What teachers and captioners said about one shard: a `Sidecar`, or Apple's members."""

    @property
    def path(self) -> Path:
        """The file, for messages."""
        ...

    @property
    def valid(self) -> np.ndarray:
        """bool (N,): False where nothing is stored for a sample."""
        ...

    @property
    def teachers(self) -> Mapping[str, TeacherInfo]:
        """The teachers by name."""
        ...

    @property
    def header(self) -> ReinforcementHeader:
        """How much is stored for each sample."""
        ...

    @property
    def policy(self) -> AugmentationPolicy:
        """What replays the recorded augmentations."""
        ...

    def augment_params(self, i: int, augmentation: int) -> np.ndarray:
        """Recorded augmentation of sample `i`: float32 (P,)."""
        ...

    def caption(self, i: int, caption: int) -> str:
        """Synthetic caption `caption`, 0…C-1, of sample `i`."""
        ...

    def image_embedding(self, teacher: str, i: int, augmentation: int) -> np.ndarray:
        """What `teacher` saw in that augmentation of sample `i`: float32 (D,)."""
        ...

    def text_embedding(self, teacher: str, i: int, row: int) -> np.ndarray:
        """Of the first ground-truth caption (row 0) or synthetic caption c (row 1+c): (D,)."""
        ...

    def check_shard(self, shard: Path, keys: Sequence[str]) -> None:
        """Raise ValueError unless `keys`, those of `shard` in order, are the source's own."""
        ...
