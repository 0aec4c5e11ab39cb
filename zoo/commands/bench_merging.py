"""`zoo bench merging`: what of a CLIP and of a SAM is left in the model merged of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from zoo.commands.bench import RESULTS
from zoo.commands.console import heading, say, show_table, status
from zoo.commands.forgetting import StoredMasks
from zoo.commands.merging_stages import (
    CLIP,
    CLIP_RUN,
    LAST_STAGE,
    MODEL,
    SAM_ANSWERS,
    SAM_RUN,
    TRUTH,
    Budget,
    MergingFolder,
    all_runs,
    ask_teachers,
    merge,
    run_name,
    train_teachers,
    write_scenes,
)
from zoo.eval.datasets import EvalDataset, read_tar_dataset
from zoo.eval.features import image_features
from zoo.eval.results import append_result, result_record
from zoo.eval.segmentation.benchmarks import get_segmentation_benchmark
from zoo.eval.segmentation.evaluate import evaluate_segmentation
from zoo.eval.segmentation.mask_agreement import METRIC
from zoo.eval.zero_shot import classification_metrics, classifier_weights
from zoo.models.checkpoint import weights_sha256
from zoo.models.class_names import CLASS_NAMES_FILE
from zoo.models.image_text_model import ImageTextModel
from zoo.models.load import load_image_text_model
from zoo.models.sam_clip.sam_clip_model import SamClipModel
from zoo.reinforced_data.tiny_world import CLASSIFICATION_TEMPLATES
from zoo.training.recipes.registry import get_recipe

SEGMENTATION = "tiny-world-colours"
"""Of what the CLIP teacher tells apart: shapes it knows of whole pictures only, and not well."""
SEGMENTATION_SIZES = (64, 128)
QUICK = Budget(captioned=256, pictures=64, sam=16, masks=16, test=32, test_masks=4, share=0.005)
MASK_IOU_GOAL, ACCURACY_GOAL, SEGMENTATION_GOAL = 0.95, 0.97, 0.05
"""Shares of the SAM teacher's mask IoU and of the CLIP teacher's accuracy that are to be kept, and
the mIoU to be gained on the CLIP teacher's own dense features."""


@dataclass(frozen=True)
class Figures:
    """What a model can do; None where it has no such part."""

    name: str
    accuracy: Mapping[int, float]
    """Zero-shot top-1 by the picture's side in pixels, 0…1."""
    mask_iou: float | None
    """With the scenes' own masks, over points, boxes and both."""
    agreement: float | None
    """IoU with the SAM teacher's masks."""
    miou: Mapping[int, float]
    """Zero-shot segmentation of the objects' pixels by dense features, by the picture's side."""


def merging(
    *,
    folder: Path = Path("merging"),
    seed: int = 0,
    ablations: bool = True,
    quick: bool = False,
    results: Path = RESULTS,
) -> None:
    """Merge a CLIP and a SAM of the tiny world in three stages and compare with both.

    Both teachers are trained here; the merged model learns from what they say of scenes that they
    did not see. Zero-shot accuracy is that of 64 classes on unseen scenes; masks are compared with
    the scenes' own and with the SAM teacher's. What is finished in FOLDER is kept, and a run that
    was stopped goes on.

    Args:
        folder: everything that is made, one folder for each run.
        seed: of the merged models' runs.
        ablations: also leave out each stage, and weigh the masks' loss by 1 and by 100.
        quick: a minute; shows that it works, not what is kept.
        results: file that the JSON lines are appended to.
    """
    budget = QUICK if quick else Budget()
    paths = MergingFolder(folder / "quick" if quick else folder)
    write_scenes(paths, budget)
    train_teachers(paths, budget)
    ask_teachers(paths)
    runs = all_runs(ablations=ablations)
    for run in runs:
        merge(paths, budget, run, seed)
    heading("measuring")
    names = [CLIP_RUN, SAM_RUN, *(run_name(run.name, seed) for run in runs)]
    rows = [_measure(paths, budget, results, name, seed) for name in names]
    clip, sam, merged = rows[0], rows[1], rows[names.index(run_name(LAST_STAGE, seed))]
    _show(rows)
    for sentence in goals(clip, sam, merged):
        say(sentence)


def _measure(paths: MergingFolder, budget: Budget, results: Path, name: str, seed: int) -> Figures:
    """Measure a run's weights and append the figures to `results`."""
    status(f"measuring {name}")
    model = load_image_text_model(
        CLIP if name == CLIP_RUN else MODEL, weights=paths.weights(name), device="cpu"
    )
    figures = Figures(
        name,
        {} if name == SAM_RUN else _accuracy(paths, model),
        _mask_iou(paths.data(TRUTH), model),
        _mask_iou(paths.data(SAM_ANSWERS), model),
        {} if name == SAM_RUN else _miou(paths, model),
    )
    metrics = _metrics(figures)
    append_result(
        results,
        result_record(
            model=name,
            dataset="tiny-world",
            protocol={"seed": seed, "segmentation": SEGMENTATION, **asdict(budget)},
            metrics=metrics,
            units=dict.fromkeys(metrics, "fraction"),
            weights_sha256=weights_sha256(model),
        ),
    )
    return figures


def _metrics(figures: Figures) -> dict[str, float]:
    single = {METRIC: figures.mask_iou, "sam_agreement": figures.agreement}
    return {
        **{f"acc1/{size}": value for size, value in figures.accuracy.items()},
        **{name: value for name, value in single.items() if value is not None},
        **{f"miou/{size}": value for size, value in figures.miou.items()},
    }


def _accuracy(paths: MergingFolder, model: ImageTextModel) -> dict[int, float]:
    """Zero-shot top-1 at every size that a merged model is trained at, or at the teacher's own."""
    data = paths.data("test")
    dataset = read_tar_dataset(data, class_names=data / CLASS_NAMES_FILE)
    assert dataset.class_names is not None
    classifier = classifier_weights(model, dataset.class_names, CLASSIFICATION_TEMPLATES)
    sizes = trained_sizes() if isinstance(model, SamClipModel) else (model.card.image_size,)
    return {size: _top1(model, dataset, classifier, size) for size in sizes}


def _top1(model: ImageTextModel, dataset: EvalDataset, classifier: Tensor, size: int) -> float:
    assert dataset.labels is not None
    own = model.preprocessing
    model.set_preprocessing(replace(own, image_size=size))
    features = image_features(model, dataset.images, len(dataset))
    model.set_preprocessing(own)
    return classification_metrics(features, classifier, torch.tensor(dataset.labels))["acc1"]


def trained_sizes() -> tuple[int, ...]:
    """Return the sides of the pictures that the last stage trains the CLIP head on."""
    settings = get_recipe(f"{MODEL}-stage3").sam_clip
    assert settings is not None
    return settings.image_sizes


def _mask_iou(shards: Path, model: ImageTextModel) -> float | None:
    """Mean IoU with the masks in the sidecars of `shards`, over prompts of all kinds."""
    if not isinstance(model, SamClipModel):
        return None
    stored = StoredMasks(shards, image_size=model.card.mask_image_size)
    (iou,) = stored.agreement(model).values()
    return iou


def _miou(paths: MergingFolder, model: ImageTextModel) -> dict[int, float]:
    """Zero-shot segmentation by the dense features of squares of several sizes.

    Plain models are shown larger pictures, too, than they were trained on: their own size leaves
    them few places.
    """
    benchmark = get_segmentation_benchmark(SEGMENTATION)
    pictures = benchmark.pictures(paths.data(TRUTH))
    results = {
        size: evaluate_segmentation(
            model,
            benchmark,
            pictures,
            protocol=benchmark.protocol("square", model, image_size=size),
            templates=CLASSIFICATION_TEMPLATES,
        )
        for size in SEGMENTATION_SIZES
    }
    return {size: result.metrics["miou"] for size, result in results.items()}


def _show(rows: Sequence[Figures]) -> None:
    sizes = trained_sizes()
    columns = [
        "",
        *(f"top-1 at {size}" for size in sizes),
        "mask IoU",
        "as the SAM",
        *(f"mIoU at {size}" for size in SEGMENTATION_SIZES),
    ]
    show_table(columns, [_cells(row, sizes) for row in rows])


def _cells(row: Figures, sizes: Sequence[int]) -> list[str]:
    figures = [
        *(row.accuracy.get(size) for size in sizes),
        row.mask_iou,
        row.agreement,
        *(row.miou.get(size) for size in SEGMENTATION_SIZES),
    ]
    return [row.name, *("" if value is None else f"{value:.1%}" for value in figures)]


def goals(clip: Figures, sam: Figures, merged: Figures) -> list[str]:
    """Return a sentence on each thing that a merged model is to keep or to gain.

    The CLIP teacher's accuracy is that at its own size, its mIoU the better of its sizes'.
    """
    (accuracy,) = clip.accuracy.values()
    assert sam.mask_iou is not None and merged.mask_iou is not None
    masks = merged.mask_iou / sam.mask_iou
    words = min(merged.accuracy.values()) / accuracy
    gain = max(merged.miou.values()) - max(clip.miou.values())
    return [
        f"keeps {masks:.1%} of the SAM teacher's mask IoU (goal {MASK_IOU_GOAL:.0%})",
        f"keeps {words:.1%} of the CLIP teacher's accuracy at its worst size (goal "
        f"{ACCURACY_GOAL:.0%})",
        f"gains {100 * gain:.1f} mIoU on the CLIP teacher's dense features (goal "
        f"{100 * SEGMENTATION_GOAL:.0f})",
    ]
