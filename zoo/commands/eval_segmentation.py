"""`zoo eval segmentation`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import tyro

from zoo.commands.console import duration, say, show_table, status, weights_argument
from zoo.eval.features import Progress
from zoo.eval.results import FractionResult, append_result
from zoo.eval.segmentation import evaluate
from zoo.eval.segmentation.benchmarks import (
    PUBLISHED_SOURCE,
    SegmentationBenchmark,
    get_segmentation_benchmark,
)
from zoo.eval.segmentation.protocols import Background, ProtocolName
from zoo.models.card import SamClipCard
from zoo.models.hub import PUBLISHED
from zoo.models.load import load_image_text_model
from zoo.models.registry import get_card
from zoo.reinforced_data.tiny_world.captions import CLASSIFICATION_TEMPLATES

RESULTS = Path("results.jsonl")
_BACKGROUND = {
    "words": "words for what lies behind objects",
    "name": "its name",
    "none": "no words",
}


def evaluate_segmentation(
    benchmark: Annotated[str, tyro.conf.Positional],
    /,
    *,
    data: Path,
    model: str,
    weights: str = PUBLISHED,
    protocol: ProtocolName = "square",
    refine: Literal["none", "points", "regions"] = "none",
    split: str | None = None,
    limit: int | None = None,
    image_size: int | None = None,
    background: Background | None = None,
    background_threshold: float | None = None,
    template: tyro.conf.UseAppendAction[tuple[str, ...]] = (),
    per_class: bool = False,
    device: str = "auto",
    name: str | None = None,
    results: Path = RESULTS,
) -> None:
    """Evaluate zero-shot segmentation: mIoU of the classes that a model gives to pixels.

    SAM-CLIP gives them by its CLIP head, plain image-text models by MaskCLIP's dense features.

    Args:
        benchmark: voc21, voc20, context60, context59, ade20k, coco-stuff, coco-panoptic,
            cityscapes, tiny-world (shapes and background), tiny-world-objects (shapes alone) or
            tiny-world-colours.
        data: folder of the benchmark's files as their authors lay them out.
        model: an image-text model of `zoo list`.
        weights: "published", "none" (random) or a file.
        protocol: "square" as SAM-CLIP's paper, or "sliding" (windows and synonyms) as SCLIP.
        refine: let SAM-CLIP's mask decoder draw the classes again, by the paper's points and maps,
            or region by region.
        split: of the benchmark; the one that papers quote by default.
        limit: only so many pictures, evenly spaced.
        image_size: side of the square, or shorter side under the window, in pixels.
        background: how class 0 is predicted where it is the background: "words" for what lies
            behind objects, its "name", or "none", by the threshold alone.
        background_threshold: probability below which a pixel is background; 0 for none.
        template: sentence around a class name, {} in its place; repeat for several. OpenAI's 80 for
            ImageNet by default, the captions' own for the tiny world.
        per_class: show the IoU of every class.
        device: cpu, cuda, mps, or auto for the fastest there is.
        name: what the results call the model, when its own name would not tell runs apart.
        results: file that the JSON lines are appended to.
    """
    chosen = get_segmentation_benchmark(benchmark)
    refinement = None if refine == "none" else refine
    if refinement is not None and image_size is not None:
        raise ValueError("Refined pictures have the size of the model's card: leave --image-size.")
    pictures = chosen.pictures(data, split=split, limit=limit)
    loaded = load_image_text_model(model, weights=weights_argument(weights), device=device)
    result = evaluate.evaluate_segmentation(
        loaded,
        chosen,
        pictures,
        protocol=chosen.protocol(
            protocol,
            loaded,
            image_size=image_size,
            background=background,
            threshold=background_threshold,
        ),
        templates=template or _own_templates(chosen),
        refinement=refinement,
        model_name=name,
        text_progress=partial(_show_progress, "texts"),
        progress=partial(_show_progress, "pictures"),
    )
    _show(result, chosen, model, per_class)
    append_result(results, result.record())


def _own_templates(benchmark: SegmentationBenchmark) -> tuple[str, ...] | None:
    return CLASSIFICATION_TEMPLATES if benchmark.name.startswith("tiny-world") else None


def _show(
    result: FractionResult, benchmark: SegmentationBenchmark, model: str, per_class: bool
) -> None:
    used = result.protocol
    background, threshold = used.get("background"), used["background_threshold"]
    say(
        f"{used['pictures']} pictures, protocol '{used['protocol']}' at {used['image_size']} px; "
        + ("no background" if background is None else f"background: {_BACKGROUND[background]}")
        + (f", probability below {threshold:g}" if threshold else "")
    )
    shown = {key: value for key, value in result.metrics.items() if per_class or "/" not in key}
    show_table(("", ""), [[key, f"{value:.2%}"] for key, value in shown.items()])
    figure = benchmark.published.get(used["refinement"])
    if isinstance(get_card(model), SamClipCard) and figure and used["protocol"] != "sliding":
        say(f"published: miou {figure:.1%} for sam-clip-vit-b ({PUBLISHED_SOURCE})")


def _show_progress(what: str, progress: Progress) -> None:
    status(
        f"{what} {progress.done}/{progress.total}, {progress.rate:.1f} a second, "
        f"{duration(progress.remaining_seconds)} left"
    )
