"""`zoo bench merging`: what of a CLIP and of a SAM is left in the model merged of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from zoo.commands.bench import RESULTS
from zoo.commands.console import heading, say, show_table, status
from zoo.commands.forgetting import StoredMasks, zero_shot_by_size
from zoo.commands.merging_data import CLIP, MODEL, SAM_ANSWERS, TRUTH, MergingData, MergingFolder
from zoo.commands.merging_photographs import Photographs, quick_photographs
from zoo.commands.merging_scenes import QUICK_SCENES, Scenes
from zoo.commands.merging_stages import (
    CLIP_RUN,
    LAST_STAGE,
    SAM_RUN,
    all_runs,
    ask_teachers,
    merge,
    run_name,
    train_teachers,
)
from zoo.eval.datasets import EvalDataset
from zoo.eval.results import append_result, result_record
from zoo.eval.segmentation.benchmarks import SegmentationBenchmark
from zoo.eval.segmentation.evaluate import evaluate_segmentation
from zoo.eval.segmentation.labelled_pictures import LabelledPicture
from zoo.eval.segmentation.mask_agreement import METRIC
from zoo.models.checkpoint import weights_sha256
from zoo.models.image_text_model import ImageTextModel
from zoo.models.load import load_image_text_model
from zoo.models.sam_clip.sam_clip_model import SamClipModel
from zoo.training.recipes.registry import get_recipe

WORDS = ("acc1", "mean_recall@1")
"""What of the zero-shot figures is shown and to be kept."""
MASK_IOU_GOAL, WORDS_GOAL, SEGMENTATION_GOAL = 0.95, 0.97, 0.05
"""Shares of the SAM teacher's mask IoU and of the CLIP teacher's accuracy that are to be kept, and
the mIoU to be gained on the CLIP teacher's own dense features."""


@dataclass(frozen=True)
class Figures:
    """What a model can do; None where it has no such part."""

    name: str
    words: Mapping[tuple[str, int], float]
    """Those of WORDS that the data allow, by name and the picture's side in pixels, 0…1."""
    mask_iou: float | None
    """With the pictures' own masks, over points, boxes and both."""
    agreement: float | None
    """IoU with the SAM teacher's masks."""
    miou: Mapping[int, float]
    """Zero-shot segmentation of the objects' pixels by dense features, by the picture's side."""


def merging(
    *,
    folder: Path = Path("merging"),
    photographs: Path | None = None,
    seed: int = 0,
    ablations: bool = True,
    quick: bool = False,
    results: Path = RESULTS,
) -> None:
    """Merge a CLIP and a SAM in three stages and compare with both, on the tiny world by default.

    Both teachers are trained here; the merged model learns from what they say. On the tiny world it
    is asked of scenes that no model saw: the class of 64, masks, and the colours of pixels. On
    photographs, of which there are few, all three models learn from the same and are asked of them:
    retrieval by captions, the classes of objects cut out, masks, and the classes of pixels. What is
    finished in FOLDER is kept, and a run that was stopped goes on.

    Args:
        folder: everything that is made, one folder for each run; for photographs in a folder of
            their folder's name.
        photographs: folder with images/ and COCO's instances.json and captions.json, instead of the
            tiny world.
        seed: of the merged models' runs.
        ablations: also leave out each stage, and weigh the masks' loss by 1 and by 100.
        quick: minutes; shows that it works, not what is kept.
        results: file that the JSON lines are appended to.
    """
    data = _data(photographs, quick)
    root = folder if photographs is None else folder / photographs.resolve().name
    paths = MergingFolder(root / "quick" if quick else root)
    data.write(paths)
    train_teachers(paths, data)
    ask_teachers(paths, data)
    runs = all_runs(ablations=ablations)
    for run in runs:
        merge(paths, data, run, seed)
    heading("measuring")
    names = [CLIP_RUN, SAM_RUN, *(run_name(run.name, seed) for run in runs)]
    tests = _Tests(data, data.tests(paths), *data.segmentation(paths))
    rows = [_measure(paths, tests, results, name, seed) for name in names]
    clip, sam, merged = rows[0], rows[1], rows[names.index(run_name(LAST_STAGE, seed))]
    _show(rows)
    for sentence in goals(clip, sam, merged):
        say(sentence)


def _data(photographs: Path | None, quick: bool) -> MergingData:
    if photographs is None:
        return QUICK_SCENES if quick else Scenes()
    return quick_photographs(photographs) if quick else Photographs(folder=photographs)


@dataclass(frozen=True)
class _Tests:
    """What every model is asked."""

    data: MergingData
    words: Sequence[EvalDataset]
    benchmark: SegmentationBenchmark
    pictures: Sequence[LabelledPicture]


def _measure(paths: MergingFolder, tests: _Tests, results: Path, name: str, seed: int) -> Figures:
    """Measure a run's weights and append the figures to `results`."""
    status(f"measuring {name}")
    model = load_image_text_model(
        CLIP if name == CLIP_RUN else MODEL, weights=paths.weights(name), device="cpu"
    )
    figures = Figures(
        name,
        {} if name == SAM_RUN else _words(tests, model),
        _mask_iou(paths.data(TRUTH), model),
        _mask_iou(paths.data(SAM_ANSWERS), model),
        {} if name == SAM_RUN else _miou(tests, model),
    )
    metrics = _metrics(figures)
    append_result(
        results,
        result_record(
            model=name,
            dataset=tests.data.name,
            protocol={
                "seed": seed,
                "segmentation": tests.data.segmentation_name,
                **tests.data.record(),
            },
            metrics=metrics,
            units=dict.fromkeys(metrics, "fraction"),
            weights_sha256=weights_sha256(model),
        ),
    )
    return figures


def _metrics(figures: Figures) -> dict[str, float]:
    single = {METRIC: figures.mask_iou, "sam_agreement": figures.agreement}
    return {
        **{f"{name}/{size}": value for (name, size), value in figures.words.items()},
        **{name: value for name, value in single.items() if value is not None},
        **{f"miou/{size}": value for size, value in figures.miou.items()},
    }


def _words(tests: _Tests, model: ImageTextModel) -> dict[tuple[str, int], float]:
    """Zero-shot figures at every size that a merged model is trained at, or at a plain model's
    own."""
    sizes = trained_sizes() if isinstance(model, SamClipModel) else (model.card.image_size,)
    return {
        (name, size): metrics[name]
        for dataset in tests.words
        for size, metrics in zero_shot_by_size(
            model, dataset, sizes, templates=tests.data.templates
        ).items()
        for name in WORDS
        if name in metrics
    }


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


def _miou(tests: _Tests, model: ImageTextModel) -> dict[int, float]:
    """Zero-shot segmentation by the dense features of squares of several sizes.

    Models are shown larger pictures, too, than they were trained on: small ones have few places.
    """
    results = {
        size: evaluate_segmentation(
            model,
            tests.benchmark,
            tests.pictures,
            protocol=tests.benchmark.protocol("square", model, image_size=size),
            templates=tests.data.templates,
        )
        for size in tests.data.segmentation_sizes
    }
    return {size: result.metrics["miou"] for size, result in results.items()}


def _show(rows: Sequence[Figures]) -> None:
    words = sorted({key for row in rows for key in row.words})
    sizes = sorted({size for row in rows for size in row.miou})
    columns = [
        "",
        *(f"{name} at {size}" for name, size in words),
        "mask IoU",
        "as the SAM",
        *(f"mIoU at {size}" for size in sizes),
    ]
    show_table(columns, [_cells(row, words, sizes) for row in rows])


def _cells(row: Figures, words: Sequence[tuple[str, int]], sizes: Sequence[int]) -> list[str]:
    figures = [
        *(row.words.get(key) for key in words),
        row.mask_iou,
        row.agreement,
        *(row.miou.get(size) for size in sizes),
    ]
    return [row.name, *("" if value is None else f"{value:.1%}" for value in figures)]


def goals(clip: Figures, sam: Figures, merged: Figures) -> list[str]:
    """Return a sentence on each thing that a merged model is to keep or to gain.

    The CLIP teacher's figures are those at its own size, its mIoU the better of its sizes'.
    """
    assert sam.mask_iou is not None and merged.mask_iou is not None
    masks = merged.mask_iou / sam.mask_iou
    gain = max(merged.miou.values()) - max(clip.miou.values())
    return [
        f"keeps {masks:.1%} of the SAM teacher's mask IoU (goal {MASK_IOU_GOAL:.0%})",
        *_kept_words(clip, merged),
        f"gains {100 * gain:.1f} mIoU on the CLIP teacher's dense features (goal "
        f"{100 * SEGMENTATION_GOAL:.0f})",
    ]


def _kept_words(clip: Figures, merged: Figures) -> list[str]:
    sentences = []
    for (name, _), value in clip.words.items():
        worst = min(own for (other, _), own in merged.words.items() if other == name)
        sentences.append(
            f"keeps {worst / value:.1%} of the CLIP teacher's {name} at its worst size (goal "
            f"{WORDS_GOAL:.0%})"
        )
    return sentences
