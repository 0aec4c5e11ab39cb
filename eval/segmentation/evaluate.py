"""Zero-shot segmentation of a benchmark, from the pictures to the record of the figures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from PIL import Image
from torch import Tensor

from zoo.eval.features import ProgressCallback, reported
from zoo.eval.results import FractionResult
from zoo.eval.segmentation.benchmarks import SegmentationBenchmark
from zoo.eval.segmentation.labelled_pictures import LabelledPicture
from zoo.eval.segmentation.metrics import PixelScores
from zoo.eval.segmentation.pixel_classifier import PixelClassifier
from zoo.eval.segmentation.protocols import Protocol, make_queries, openai_templates
from zoo.eval.segmentation.refined_classifier import RefinedClassifier, Refinement
from zoo.models.card import SamClipCard
from zoo.models.checkpoint import weights_sha256

if TYPE_CHECKING:
    from zoo.models.image_text_model import ImageTextModel

Classify = Callable[[Image.Image], Tensor]


def evaluate_segmentation(
    model: ImageTextModel,
    benchmark: SegmentationBenchmark,
    pictures: Sequence[LabelledPicture],
    *,
    protocol: Protocol,
    templates: Sequence[str] | None = None,
    refinement: Refinement | None = None,
    model_name: str | None = None,
    text_progress: ProgressCallback | None = None,
    progress: ProgressCallback | None = None,
) -> FractionResult:
    """Classify every pixel of the pictures, one picture at a time, and score the classes.

    The figures are `miou`, `pixel_accuracy` and `iou/CLASS`.

    `templates` are sentences with {} for a class's name, by default OpenAI's 80 for ImageNet, which
    both protocols take. `refinement` lets SAM-CLIP's mask decoder draw the classes again.
    `model_name` (say, a run's) replaces the card's. `text_progress` is called as the class names
    are encoded and `progress` after each picture.

    Raises:
        ValueError: the model has no dense features or no mask decoder, a picture or label map is
            damaged, a label is none of the benchmark's, or torchmetrics is not installed.
    """
    scores = PixelScores(len(benchmark.classes))
    given = tuple(templates) if templates else openai_templates()
    classify = _classifier(model, benchmark, protocol, given, refinement, text_progress)
    for picture in reported(pictures, progress):
        image, classes = picture.read()
        scores.add(classify(image), classes)
    return FractionResult(
        dataset=benchmark.name,
        model=model_name or model.card.name,
        weights_sha256=weights_sha256(model),
        metrics=scores.figures(benchmark.class_names),
        protocol=_record(model, benchmark, pictures, protocol, given, refinement),
    )


def _classifier(
    model: ImageTextModel,
    benchmark: SegmentationBenchmark,
    protocol: Protocol,
    templates: Sequence[str],
    refinement: Refinement | None,
    progress: ProgressCallback | None,
) -> Classify:
    given = model, benchmark.classes, protocol, templates
    if refinement is None:
        return PixelClassifier(*given, progress=progress)
    return RefinedClassifier(*given, refinement, progress=progress)


def _record(
    model: ImageTextModel,
    benchmark: SegmentationBenchmark,
    pictures: Sequence[LabelledPicture],
    protocol: Protocol,
    templates: Sequence[str],
    refinement: Refinement | None,
) -> dict[str, Any]:
    card = model.card
    shown = protocol.record()
    if refinement is not None and isinstance(card, SamClipCard):
        shown |= {"protocol": "refined", "image_size": card.mask_image_size}
    return {
        "task": "zeroshot_segmentation",
        "pictures": len(pictures),
        "classes": len(benchmark.classes),
        "queries": len(make_queries(benchmark.classes, protocol).texts),
        "templates": len(templates),
        "template_example": templates[0],
        "refinement": refinement or "none",
        "dtype": str(next(model.parameters()).dtype).removeprefix("torch."),
        **shown,
    }
