"""What `zoo bench merging` asks of the data that a CLIP and a SAM are trained and merged on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zoo.eval.datasets import EvalDataset
from zoo.eval.segmentation.benchmarks import SegmentationBenchmark
from zoo.eval.segmentation.labelled_pictures import LabelledPicture
from zoo.reinforced_data.augmentation.policy import AugmentationPolicy

MODEL = "sam-clip-tiny"
CLIP = "mobileclip-tiny"
CAPTIONED = "captioned"
"""Shards with captions, of the CLIP teacher."""
PICTURES = "pictures"
"""Shards that the merged model gets the CLIP teacher's embeddings of."""
SAM_DATA = "sam"
"""Shards with masks, of the SAM teacher."""
MASKS = "masks"
"""Shards that the merged model gets the SAM teacher's masks of."""
TRUTH, SAM_ANSWERS = "test-truth", "test-sam"
"""Shards of the same test pictures, by whose masks their sidecars hold."""


@dataclass(frozen=True)
class MergingFolder:
    """Where the stages put things."""

    root: Path

    def data(self, name: str) -> Path:
        """Shards: those named above, and what the data call others."""
        return self.root / "data" / name

    def run(self, name: str) -> Path:
        """Folder of a training run."""
        return self.root / "runs" / name

    def weights(self, run: str) -> Path:
        """Weights that a finished training run leaves."""
        return self.run(run) / "weights.safetensors"


class MergingData(ABC):
    """Data to train both teachers on, to merge them on, and to measure all three with."""

    name: str
    """What the results call them."""
    segmentation_name: str
    """What the results call the classes of pixels."""
    segmentation_sizes: Sequence[int]
    """Sides in pixels of the squares whose dense features are asked for the classes of pixels."""
    templates: Sequence[str]
    """Sentences around a class's name."""
    teacher_policy: AugmentationPolicy
    """Of the CLIP teacher's views in its own training."""
    policy: AugmentationPolicy
    """Of the views that are stored with its embeddings."""
    augmentations: int
    """Stored of each picture."""
    teacher_share: float
    """Of the samples that the teachers' recipes see."""
    merging_share: float
    """Of the samples that the recipes of the merged models see."""

    @abstractmethod
    def write(self, paths: MergingFolder) -> None:
        """Write all shards; what is there is kept."""

    @abstractmethod
    def tests(self, paths: MergingFolder) -> list[EvalDataset]:
        """Return what zero-shot figures are of: pictures with labels or with captions."""

    @abstractmethod
    def segmentation(
        self, paths: MergingFolder
    ) -> tuple[SegmentationBenchmark, list[LabelledPicture]]:
        """Return the benchmark of classes of pixels and its pictures."""

    @abstractmethod
    def record(self) -> dict[str, Any]:
        """Return what a result says of the data."""
