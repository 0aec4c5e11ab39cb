"""The benchmarks: which files, which classes, which numbers, and what was published."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from zoo.eval.features import evenly
from zoo.eval.segmentation import readers, segment_readers
from zoo.eval.segmentation.class_names import (
    BACKGROUND,
    CITYSCAPES,
    COLOURS,
    CONTEXT,
    SHAPES,
    VOC,
    Classes,
)
from zoo.eval.segmentation.class_names_ade import ADE20K
from zoo.eval.segmentation.class_names_coco import PANOPTIC, STUFF, THINGS
from zoo.eval.segmentation.labelled_pictures import LabelledPicture
from zoo.eval.segmentation.protocols import Background, Protocol, ProtocolName, Sliding
from zoo.models.card import SamClipCard

if TYPE_CHECKING:
    from zoo.models.image_text_model import ImageTextModel

Reader = Callable[[Path, str], list[LabelledPicture]]

PUBLISHED_SOURCE = "SAM-CLIP, arXiv 2310.15308, Tables 2 and 5; its weights were never released"


@dataclass(frozen=True, kw_only=True)
class SegmentationBenchmark:
    """One benchmark of classes of pixels."""

    name: str
    read: Reader
    """Pictures of a folder and a split; its docstring states the layout of the files."""
    source: str
    """Where the files come from."""
    splits: tuple[str, ...]
    """The first is what papers quote and the default."""
    classes: Classes
    """In the order of the labels; the first is the background where there is one."""
    background: Background | None = None
    """How the background is predicted unless said otherwise; None where there is none."""
    threshold: float = 0.0
    """Below which a pixel of the square protocol is background unless said otherwise."""
    sliding: Sliding = field(default_factory=Sliding)
    published: Mapping[str, float] = field(default_factory=dict)
    """mIoU of SAM-CLIP, a fraction, by the name of the refinement ("none" for the CLIP head)."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """One name of each class."""
        return tuple(names[0] for names in self.classes)

    def pictures(
        self, folder: str | Path, *, split: str | None = None, limit: int | None = None
    ) -> list[LabelledPicture]:
        """Return the pictures of a split, `limit` of them evenly spaced.

        Raises:
            ValueError: an unknown split, a file of another form, a limit below 1, no pictures.
            FileNotFoundError: a folder, list or file is missing; the sentence says which.
        """
        split = self.splits[0] if split is None else split
        if split not in self.splits:
            raise ValueError(
                f"{self.name} has no split '{split}'; give {' or '.join(self.splits)}."
            )
        try:
            pictures = self.read(Path(folder), split)
        except FileNotFoundError as error:
            raise FileNotFoundError(f"{error} Files of {self.name}: {self.source}.") from error
        if not pictures:
            raise ValueError(f"{folder} holds no pictures of {self.name}, split '{split}'.")
        return evenly(pictures, limit, "picture")

    def protocol(
        self,
        name: ProtocolName,
        model: ImageTextModel,
        *,
        image_size: int | None = None,
        background: Background | None = None,
        threshold: float | None = None,
    ) -> Protocol:
        """Return the protocol's numbers for this benchmark, with what is given instead of them.

        The square has the side of SAM-CLIP's card, or what a plain model was trained with.

        Raises ValueError where they do not go together.
        """
        if background is not None and self.background is None:
            raise ValueError(f"{self.name} has no background class: leave the background out.")
        background = background or self.background
        if name == "square":
            card = model.card
            trained = model.preprocessing.image_size
            side = card.segmentation_image_size if isinstance(card, SamClipCard) else trained
            return Protocol(
                name="square",
                image_size=side if image_size is None else image_size,
                background=background,
                background_threshold=self.threshold if threshold is None else threshold,
            )
        numbers = self.sliding
        default = 0.0 if self.background is None else numbers.background_threshold
        return Protocol(
            name="sliding",
            image_size=numbers.short_side if image_size is None else image_size,
            window=numbers.window,
            stride=numbers.stride,
            synonyms=True,
            background=background,
            background_threshold=default if threshold is None else threshold,
            least_area=numbers.least_area,
            logit_scale=numbers.logit_scale,
        )


def get_segmentation_benchmark(name: str) -> SegmentationBenchmark:
    """Return the benchmark of that name, in any case; ValueError suggests the nearest name."""
    by_name = {benchmark.name: benchmark for benchmark in BENCHMARKS}
    if name.lower() in by_name:
        return by_name[name.lower()]
    near = difflib.get_close_matches(name.lower(), by_name, n=2) or list(by_name)
    raise ValueError(f"Unknown benchmark '{name}'; did you mean {' or '.join(near)}?")


_VOC = "http://host.robots.ox.ac.uk/pascal/VOC/voc2012 (VOCdevkit/VOC2012)"
_CONTEXT = "https://cs.stanford.edu/~roozbeh/pascal-context, converted by mmsegmentation"
_TINY_WORLD = "`zoo data tiny-world FOLDER --split test`"
_TINY_WINDOW = Sliding(short_side=96, window=64, stride=32, background_threshold=0.5)

BENCHMARKS = (
    SegmentationBenchmark(
        name="voc21",
        read=partial(readers.read_voc, background=True),
        source=_VOC,
        splits=("val", "train"),
        classes=(BACKGROUND, *VOC),
        background="words",
        sliding=Sliding(logit_scale=65.0, least_area=0.1),
        published={"none": 0.606, "points": 0.660},
    ),
    SegmentationBenchmark(
        name="voc20",
        read=partial(readers.read_voc, background=False),
        source=_VOC,
        splits=("val", "train"),
        classes=VOC,
    ),
    SegmentationBenchmark(
        name="context60",
        read=partial(readers.read_context, background=True),
        source=_CONTEXT,
        splits=("val", "train"),
        classes=(BACKGROUND, *CONTEXT),
        background="name",
        sliding=Sliding(logit_scale=50.0),
        published={"none": 0.292},
    ),
    SegmentationBenchmark(
        name="context59",
        read=partial(readers.read_context, background=False),
        source=_CONTEXT,
        splits=("val", "train"),
        classes=CONTEXT,
    ),
    SegmentationBenchmark(
        name="ade20k",
        read=readers.read_ade20k,
        source="http://sceneparsing.csail.mit.edu (ADEChallengeData2016)",
        splits=("validation", "training"),
        classes=ADE20K,
        published={"none": 0.171},
    ),
    SegmentationBenchmark(
        name="coco-stuff",
        read=readers.read_coco_stuff,
        source="https://github.com/nightrome/cocostuff (stuffthingmaps) and COCO's pictures",
        splits=("val2017", "train2017"),
        classes=THINGS + STUFF,
        sliding=Sliding(short_side=448),
        published={"none": 0.315},
    ),
    SegmentationBenchmark(
        name="coco-panoptic",
        read=segment_readers.read_coco_panoptic,
        source="https://cocodataset.org/#download (panoptic annotations) and COCO's pictures",
        splits=("val2017", "train2017"),
        classes=PANOPTIC,
        published={"none": 0.288},
    ),
    SegmentationBenchmark(
        name="cityscapes",
        read=readers.read_cityscapes,
        source="https://www.cityscapes-dataset.com (leftImg8bit and gtFine)",
        splits=("val", "train"),
        classes=CITYSCAPES,
        sliding=Sliding(short_side=560),
    ),
    SegmentationBenchmark(
        name="tiny-world",
        read=partial(segment_readers.read_tiny_world, background=True),
        source=_TINY_WORLD,
        splits=("all",),
        classes=(BACKGROUND, *SHAPES),
        background="none",
        threshold=0.5,
        sliding=_TINY_WINDOW,
    ),
    SegmentationBenchmark(
        name="tiny-world-objects",
        read=partial(segment_readers.read_tiny_world, background=False),
        source=_TINY_WORLD,
        splits=("all",),
        classes=SHAPES,
        sliding=_TINY_WINDOW,
    ),
    SegmentationBenchmark(
        name="tiny-world-colours",
        read=partial(segment_readers.read_tiny_world, background=False, trait="colour"),
        source=_TINY_WORLD,
        splits=("all",),
        classes=COLOURS,
        sliding=_TINY_WINDOW,
    ),
)
"""Numbers of the sliding window are SCLIP's. SAM-CLIP's paper does not say whether its VOC and
Context have the background: Trident's table files it with them (voc21, context60), and the figures
stand there. How it predicts the background it does not say either: VOC's is asked for by words,
Context's, whose classes are such words, by its name, as SCLIP's lists do; the tiny world has no
words for it."""
