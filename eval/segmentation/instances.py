"""Masks of objects from their boxes, scored as COCO scores instance segmentation.

Protocol of SAM's zero-shot instance segmentation (arXiv 2304.02643, section 7.4 and appendix D.4),
which SAM-CLIP's Table 1 follows with ViTDet-B's boxes: a detector's boxes are the prompts, the
predicted masks go back to the decoder once together with the boxes, and a mask has its box's score.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from zoo.eval.features import ProgressCallback, evaluation_mode, evenly, reported
from zoo.eval.results import FractionResult
from zoo.eval.segmentation.instance_files import (
    Boxes,
    Entry,
    Instances,
    boxes_by_image,
    import_pycocotools,
    silence,
)
from zoo.models.checkpoint import weights_sha256
from zoo.models.preprocess import open_image
from zoo.models.sam_clip.prediction import Look
from zoo.models.sam_clip.sam_clip_model import SamClipModel

PUBLISHED = {"SAM": 0.412, "SAM-CLIP": 0.409}
"""AP on COCO's val2017 with ViTDet-B's boxes (arXiv 2310.15308, Table 1): the authors' figures."""

_METRICS = ("AP", "AP50", "AP75", "AP_small", "AP_medium", "AP_large")
"""The first six of pycocotools' summary."""
_BOXES_AT_ONCE = 32
"""Prompts decoded together: what bounds the memory of a picture with hundreds of boxes."""


@dataclass(frozen=True, kw_only=True)
class InstanceResult(FractionResult):
    """What boxes gave, and how good that is: COCO's average precisions, those that there are
    objects for, and `mean_iou` where the boxes are the annotations' own."""

    masks: list[Entry]
    """In COCO's form of results."""


def evaluate_instances(
    model: SamClipModel,
    instances: Instances,
    folder: str | Path,
    *,
    boxes: Sequence[Entry] | None = None,
    refine: bool = True,
    limit: int | None = None,
    model_name: str | None = None,
    progress: ProgressCallback | None = None,
) -> InstanceResult:
    """Predict a mask for every box and score the masks against the annotated ones.

    The pictures of `instances` lie in `folder`; one is held at a time. `boxes` are a detector's
    (`read_boxes`), whose scores the masks get. Without them the annotations' own are taken, crowds
    left out, and a mask's score is the IoU that the model predicts of it. `refine` gives every
    mask back to the decoder once, with its box. `limit` takes so many pictures, evenly spaced.

    Raises:
        ValueError: no box is left, a picture has another size than is written of it, or
            pycocotools is missing.
        FileNotFoundError: a picture is not there.
    """
    index = instances.index()
    images = evenly(instances.images, limit, "picture")
    found = boxes_by_image(instances.objects if boxes is None else boxes, images)
    if not found:
        raise ValueError(
            f"None of the {len(images)} pictures of '{instances.path}' has a box; give boxes of "
            "these pictures."
        )
    masks = _all_masks(model, images, found, Path(folder), boxes is None, refine, progress)
    metrics = coco_precision(index, masks, [image["id"] for image in images])
    if boxes is None:
        metrics["mean_iou"] = _mean_iou(index, masks)
    return InstanceResult(
        model=model_name or model.card.name,
        weights_sha256=weights_sha256(model),
        dataset=instances.path.stem,
        masks=masks,
        metrics=metrics,
        protocol={
            "task": "instance_segmentation",
            "images": len(images),
            "boxes": "annotated" if boxes is None else "detected",
            "box_count": len(masks),
            "scores": "predicted_iou" if boxes is None else "detector",
            "refined_by_own_mask": refine,
            "image_size": model.card.mask_image_size,
            "harness": f"pycocotools {version('pycocotools')}, COCOeval segm",
        },
    )


def coco_precision(
    index: Any, masks: Sequence[Entry], image_ids: Sequence[int]
) -> dict[str, float]:
    """Return COCO's average precisions of `masks`, results in COCO's form, over these pictures.

    `index` is `Instances.index()`. A precision that no object counts for is left out.
    """
    evaluation = import_pycocotools("cocoeval").COCOeval
    with silence():
        # loadRes adds to the entries that it is given.
        results = index.loadRes([dict(mask) for mask in masks])
        scored = evaluation(index, results, "segm")
        scored.params.imgIds = list(image_ids)
        scored.evaluate()
        scored.accumulate()
        scored.summarize()
    # pycocotools says -1 where there is nothing to find.
    return {
        name: float(value)
        for name, value in zip(_METRICS, scored.stats, strict=False)
        if value >= 0
    }


def _all_masks(
    model: SamClipModel,
    images: Sequence[Entry],
    found: Mapping[int, Boxes],
    folder: Path,
    annotated: bool,
    refine: bool,
    progress: ProgressCallback | None,
) -> list[Entry]:
    masks: list[Entry] = []
    with evaluation_mode(model):
        for image in reported(images, progress):
            if image["id"] in found:
                masks += _masks_of(model, image, found[image["id"]], folder, annotated, refine)
    return masks


def _masks_of(
    model: SamClipModel, image: Entry, boxes: Boxes, folder: Path, annotated: bool, refine: bool
) -> list[Entry]:
    path = folder / image["file_name"]
    picture = open_image(path)
    if picture.size != (image["width"], image["height"]):
        raise ValueError(
            f"'{path}' is {picture.width}x{picture.height} pixels and annotated as "
            f"{image['width']}x{image['height']}; give the annotations' own pictures."
        )
    answers = _answers(model, model.look(picture), boxes.corners, refine)
    return [
        {
            "image_id": image["id"],
            "category_id": entry["category_id"],
            "segmentation": mask,
            "score": predicted_iou if annotated else entry["score"],
            **({"annotation_id": entry["id"]} if annotated else {}),
        }
        for entry, (mask, predicted_iou) in zip(boxes.entries, answers, strict=True)
    ]


def _answers(
    model: SamClipModel, seen: Look, boxes: Tensor, refine: bool
) -> Iterator[tuple[Entry, float]]:
    """Yield the run-length code and the predicted IoU of every box's mask."""
    encode = import_pycocotools("mask").encode
    for some in boxes.split(_BOXES_AT_ONCE):
        answer = model.predict_masks(seen, boxes=some)
        if refine:
            answer = model.predict_masks(seen, boxes=some, mask=answer.logits[:, 0])
        masks = answer.masks[:, 0].permute(1, 2, 0).to("cpu", torch.uint8).numpy()
        codes = encode(np.asfortranarray(masks))  # (H, W, N)
        yield from zip(codes, answer.scores[:, 0].tolist(), strict=True)


def _mean_iou(index: Any, masks: Sequence[Entry]) -> float:
    """Of each mask with the annotation whose box it answers."""
    iou = import_pycocotools("mask").iou
    ious = [
        iou([mask["segmentation"]], [index.annToRLE(index.anns[mask["annotation_id"]])], [0])
        for mask in masks
    ]
    return float(np.mean(ious))
