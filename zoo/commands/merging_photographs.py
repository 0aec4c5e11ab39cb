"""`zoo bench merging` on photographs in COCO's form, so few that all figures are of these."""

from __future__ import annotations

import itertools
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from zoo.commands.console import heading
from zoo.commands.demo_stages import write_once
from zoo.commands.merging_data import (
    CAPTIONED,
    MASKS,
    PICTURES,
    SAM_ANSWERS,
    SAM_DATA,
    TRUTH,
    MergingData,
    MergingFolder,
)
from zoo.eval.datasets import EvalDataset, read_tar_dataset
from zoo.eval.segmentation.benchmarks import SegmentationBenchmark
from zoo.eval.segmentation.instance_classes import read_instance_classes
from zoo.eval.segmentation.labelled_pictures import LabelledPicture
from zoo.models.class_names import CLASS_NAMES_FILE, DEFAULT_TEMPLATES, read_class_names
from zoo.reinforced_data.augmentation.policy import AugmentationPolicy
from zoo.reinforced_data.masks.coco_objects import pack_coco_objects
from zoo.reinforced_data.masks.coco_shards import pack_coco
from zoo.reinforced_data.masks.coco_windows import pack_coco_windows
from zoo.reinforced_data.randomness import packing_order
from zoo.reinforced_data.shards.read import read_shard
from zoo.reinforced_data.shards.sample import Sample
from zoo.reinforced_data.shards.write import write_shards

_PHOTOGRAPHS, _OBJECTS, _WINDOWS = "photographs", "objects", "windows"


@dataclass(frozen=True, kw_only=True)
class Photographs(MergingData):
    """Photographs with captions and instances, their objects cut out, to learn names from, and
    windows on them, to learn places from."""

    folder: Path
    """Holds images/, instances.json and captions.json."""
    windows: int = 600
    """Squares of the photographs, whose captions name the objects in them."""
    copies: int = 3
    """How often each photograph and each object stands among the windows, with views of its own
    every time."""
    augmentations: int = 20
    teacher_share: float = 2.0
    merging_share: float = 5.0

    name = "photographs"
    segmentation_name = "instances"
    segmentation_sizes = (64, 96, 128, 192, 256)
    """Objects are smaller in photographs than in scenes."""
    templates = DEFAULT_TEMPLATES
    teacher_policy = AugmentationPolicy(scale=(0.3, 1.0), num_ops=0)
    policy = AugmentationPolicy(scale=(0.6, 1.0), num_ops=0)

    def write(self, paths: MergingFolder) -> None:
        """Write the photographs as shards for each purpose, their objects and windows on them."""
        heading("writing the photographs")
        files = (self.folder / "images", self._instances)
        photographs = partial(pack_coco, *files, captions=self.folder / "captions.json")
        for name in (_PHOTOGRAPHS, SAM_DATA, MASKS, TRUTH, SAM_ANSWERS):
            write_once(paths.data(name), photographs)
        write_once(paths.data(_OBJECTS), partial(pack_coco_objects, *files))
        windows = partial(pack_coco_windows, *files, windows=self.windows)
        write_once(paths.data(_WINDOWS), windows)
        write_once(paths.data(CAPTIONED), partial(self._write_mixed, paths, captions=True))
        write_once(paths.data(PICTURES), partial(self._write_mixed, paths, captions=False))

    def tests(self, paths: MergingFolder) -> list[EvalDataset]:
        """Return the photographs with their captions and the objects with their classes."""
        objects = paths.data(_OBJECTS)
        return [
            read_tar_dataset(paths.data(_PHOTOGRAPHS)),
            read_tar_dataset(objects, class_names=objects / CLASS_NAMES_FILE),
        ]

    def segmentation(
        self, paths: MergingFolder
    ) -> tuple[SegmentationBenchmark, list[LabelledPicture]]:
        """Return the photographs with the classes of their objects' pixels."""
        names = read_class_names(paths.data(_OBJECTS) / CLASS_NAMES_FILE)
        pictures = read_instance_classes(self.folder / "images", self._instances, names)
        benchmark = SegmentationBenchmark(
            name=self.segmentation_name,
            read=lambda folder, split: pictures,
            source="COCO's form",
            splits=("all",),
            classes=tuple((name,) for name in names),
        )
        return benchmark, pictures

    def record(self) -> dict[str, Any]:
        """Return how much is made of the photographs."""
        return asdict(self) | {"folder": self.folder.resolve().name}

    @property
    def _instances(self) -> Path:
        return self.folder / "instances.json"

    def _write_mixed(self, paths: MergingFolder, output: Path, *, captions: bool) -> None:
        """In a random order: a loader mixes neighbouring shards only."""
        known = [*_samples(paths.data(_PHOTOGRAPHS)), *_samples(paths.data(_OBJECTS))]
        copies = itertools.product(range(self.copies), known)
        copied = [replace(sample, key=f"{sample.key}-{copy}") for copy, sample in copies]
        samples = [*copied, *_samples(paths.data(_WINDOWS))]
        mixed = (samples[i] for i in packing_order(len(samples)))
        shown = mixed if captions else (replace(sample, captions=()) for sample in mixed)
        write_shards(shown, output)


def _samples(folder: Path) -> list[Sample]:
    """Without what is known of their masks and classes."""
    shards = sorted(folder.glob("*.tar"))
    return [
        replace(sample, label=None, extra={}) for shard in shards for sample in read_shard(shard)
    ]


def quick_photographs(folder: Path) -> Photographs:
    """Return data with which everything runs once and nothing is learned."""
    return Photographs(
        folder=folder,
        windows=8,
        copies=1,
        augmentations=1,
        teacher_share=0.005,
        merging_share=0.005,
    )
