"""`zoo eval instances`."""

from __future__ import annotations

from pathlib import Path

from zoo.commands.console import duration, say, show_table, status, weights_argument
from zoo.eval.features import Progress
from zoo.eval.results import append_result
from zoo.eval.segmentation.instance_files import read_boxes, read_instances
from zoo.eval.segmentation.instances import PUBLISHED as PUBLISHED_AP
from zoo.eval.segmentation.instances import evaluate_instances
from zoo.models.devices import chosen_device
from zoo.models.hub import PUBLISHED
from zoo.models.sam_clip.load import load_sam_clip

RESULTS = Path("results.jsonl")


def evaluate_instance_masks(
    *,
    data: Path,
    annotations: Path,
    boxes: Path | None = None,
    model: str = "sam-clip-vit-b",
    weights: str = PUBLISHED,
    refine: bool = True,
    limit: int | None = None,
    device: str = "auto",
    name: str | None = None,
    results: Path = RESULTS,
) -> None:
    """Predict masks of objects from their boxes and score them as COCO does.

    Args:
        data: folder of the pictures, COCO's val2017.
        annotations: COCO's file of instances, instances_val2017.json.
        boxes: a detector's results in COCO's form, [{"image_id", "category_id", "bbox", "score"},
            …]; the annotations' own boxes by default, which also gives the mean IoU.
        model: a SAM-CLIP of `zoo list`.
        weights: "none" (random), a file of ours, or a SAM's.
        refine: give every mask back to the decoder once, as SAM's evaluation does.
        limit: evaluate only so many pictures, evenly spaced.
        device: cpu, cuda, mps, or auto for the fastest there is.
        name: what the results call the model, when its own name would not tell runs apart.
        results: file that the JSON lines are appended to.
    """
    instances = read_instances(annotations)
    detected = None if boxes is None else read_boxes(boxes, instances)
    loaded = load_sam_clip(model, weights=weights_argument(weights), device=chosen_device(device))
    result = evaluate_instances(
        loaded,
        instances,
        data,
        boxes=detected,
        refine=refine,
        limit=limit,
        model_name=name,
        progress=_show_progress,
    )
    protocol = result.protocol
    say(
        f"{protocol['box_count']} {protocol['boxes']} boxes in {protocol['images']} pictures of "
        f"{result.dataset}"
    )
    show_table(("", ""), [[metric, f"{value:.2%}"] for metric, value in result.metrics.items()])
    if detected is not None:
        figures = ", ".join(f"{whose} {figure:.1%}" for whose, figure in PUBLISHED_AP.items())
        say(f"published: AP on val2017 with ViTDet-B's boxes: {figures} (arXiv 2310.15308)")
    append_result(results, result.record())


def _show_progress(progress: Progress) -> None:
    status(
        f"pictures {progress.done}/{progress.total}, {progress.rate:.2f} a second, "
        f"{duration(progress.remaining_seconds)} left"
    )
