"""`zoo bench merging` on scenes of the tiny world, of which all are different."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from zoo.commands.console import heading
from zoo.commands.demo_stages import write_once
from zoo.commands.merging_data import (
    CAPTIONED,
    MASKS,
    MODEL,
    PICTURES,
    SAM_ANSWERS,
    SAM_DATA,
    TRUTH,
    MergingData,
    MergingFolder,
)
from zoo.commands.tiny_world import tiny_world
from zoo.eval.datasets import EvalDataset, read_tar_dataset
from zoo.eval.segmentation.benchmarks import SegmentationBenchmark, get_segmentation_benchmark
from zoo.eval.segmentation.labelled_pictures import LabelledPicture
from zoo.models.card import SamClipCard
from zoo.models.class_names import CLASS_NAMES_FILE
from zoo.models.registry import get_card_of
from zoo.reinforced_data.tiny_world import CLASSIFICATION_TEMPLATES
from zoo.training.recipes.registry import get_recipe

_TEST = "test"


@dataclass(frozen=True, kw_only=True)
class Scenes(MergingData):
    """How much there is of everything."""

    captioned: int = 12_000
    """Scenes with captions, of the CLIP teacher."""
    pictures: int = 6_000
    """Scenes without, that the merged model gets embeddings of."""
    sam: int = 3_000
    """Scenes with masks, of the SAM teacher."""
    masks: int = 1_000
    """Scenes that the merged model gets the SAM teacher's masks of."""
    test: int = 4_000
    """Scenes whose class is asked for."""
    test_masks: int = 150
    """Scenes whose masks and classes of pixels are asked for."""
    teacher_share: float = 1.0
    merging_share: float = 1.0

    name = "tiny-world"
    segmentation_name = "tiny-world-colours"
    """The CLIP teacher tells colours apart; shapes it knows of whole pictures only, not well."""
    segmentation_sizes = (64, 96, 128)
    templates = CLASSIFICATION_TEMPLATES
    teacher_policy = policy = get_recipe("tiny-teacher").augmentation
    augmentations = 2

    def write(self, paths: MergingFolder) -> None:
        """Write all shards; no two of them share a scene, all show every combination.

        Classes are asked of scenes with one object, masks of up to three.
        """
        heading("writing the tiny world")
        card = get_card_of(SamClipCard, MODEL)
        world = partial(tiny_world, split="all", image_size=card.mask_image_size)
        single = partial(world, max_objects=1)
        captioned = partial(single, scenes=self.captioned, seed=1, image_size=card.image_size)
        write_once(paths.data(CAPTIONED), captioned)
        write_once(paths.data(PICTURES), partial(single, scenes=self.pictures, seed=2))
        write_once(paths.data(_TEST), partial(single, scenes=self.test, seed=3))
        write_once(paths.data(SAM_DATA), partial(world, scenes=self.sam, seed=4))
        write_once(paths.data(MASKS), partial(world, scenes=self.masks, seed=5))
        for name in (TRUTH, SAM_ANSWERS):
            write_once(paths.data(name), partial(world, scenes=self.test_masks, seed=6))

    def tests(self, paths: MergingFolder) -> list[EvalDataset]:
        """Return unseen scenes with their class of colour and shape."""
        data = paths.data(_TEST)
        return [read_tar_dataset(data, class_names=data / CLASS_NAMES_FILE)]

    def segmentation(
        self, paths: MergingFolder
    ) -> tuple[SegmentationBenchmark, list[LabelledPicture]]:
        """Return unseen scenes with the colours of their objects' pixels."""
        benchmark = get_segmentation_benchmark(self.segmentation_name)
        return benchmark, benchmark.pictures(paths.data(TRUTH))

    def record(self) -> dict[str, Any]:
        """Return how much there is of everything."""
        return asdict(self)


QUICK_SCENES = Scenes(
    captioned=256,
    pictures=64,
    sam=16,
    masks=16,
    test=32,
    test_masks=4,
    teacher_share=0.005,
    merging_share=0.005,
)
