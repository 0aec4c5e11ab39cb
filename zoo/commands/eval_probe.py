"""`zoo eval probe`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import tyro

from zoo.commands.console import duration, say, show_table, status, weights_argument
from zoo.eval.features import Progress
from zoo.eval.results import append_result
from zoo.eval.segmentation.benchmarks import SegmentationBenchmark, get_segmentation_benchmark
from zoo.eval.segmentation.labelled_pictures import LabelledPicture
from zoo.eval.segmentation.probe import PUBLISHED as PUBLISHED_MIOU
from zoo.eval.segmentation.probe import ProbeResult, probe
from zoo.eval.segmentation.probe_features import Where
from zoo.eval.segmentation.probe_heads import HeadName
from zoo.eval.segmentation.probe_training import ProbeSettings
from zoo.models.card import SamClipCard
from zoo.models.devices import chosen_device
from zoo.models.hub import PUBLISHED
from zoo.models.image_text_model import ImageTextModel
from zoo.models.load import load_image_text_model

RESULTS = Path("results.jsonl")


def evaluate_probe(
    benchmark: Annotated[str, tyro.conf.Positional],
    /,
    *,
    data: Path,
    model: str,
    weights: str = PUBLISHED,
    training_data: Path | None = None,
    head: HeadName = "linear",
    features: Where = "tower",
    image_size: int | None = None,
    steps: int = 4000,
    batch_size: int = 16,
    learning_rate: float = 1e-3,
    seed: int = 0,
    limit: int | None = None,
    device: str = "auto",
    per_class: bool = False,
    output: Path | None = None,
    name: str | None = None,
    results: Path = RESULTS,
) -> None:
    """Train a small head on a model's frozen features and score its classes of pixels.

    The same command goes on where it was stopped or killed.

    Args:
        benchmark: one of `zoo eval segmentation`.
        data: folder of the benchmark's files as their authors lay them out.
        model: an image-text model of `zoo list`.
        weights: "published", "none" (random), a file, or for SAM-CLIP a SAM's.
        training_data: folder to train on, where a benchmark has no training split (tiny-world).
        head: "linear", or "deeplab" for DeepLabv3's.
        features: of the "tower", before any head, or of patches in the space of "text".
        image_size: side in pixels of the squares; the model's for segmentation by default.
        steps: of AdamW.
        batch_size: pictures of a step.
        learning_rate: at the first step; it decays to 0.
        seed: of the head, the order and the mirroring.
        limit: score only so many pictures, evenly spaced.
        device: cpu, cuda, mps, or auto for the fastest there is.
        per_class: show the IoU of every class.
        output: file of the head; probes/MODEL-BENCHMARK-HEAD-FEATURES.safetensors by default.
        name: what the results call the model, when its own name would not tell runs apart.
        results: file that the JSON lines are appended to.
    """
    chosen = get_segmentation_benchmark(benchmark)
    train = _training_pictures(chosen, data, training_data)
    validation = chosen.pictures(data, limit=limit)
    loaded = load_image_text_model(
        model,
        weights=weights_argument(weights),
        device=chosen_device(device),
        image_size=image_size,
    )
    settings = ProbeSettings(
        head=head,
        features=features,
        image_size=image_size or _own_size(loaded),
        steps=steps,
        batch_size=batch_size,
        learning_rate=learning_rate,
        seed=seed,
    )
    called = name or loaded.card.name
    result = probe(
        loaded,
        train,
        validation,
        chosen.class_names,
        settings,
        dataset=chosen.name,
        output=output or Path("probes") / f"{called}-{chosen.name}-{head}-{features}.safetensors",
        model_name=name,
        progress=partial(_show_progress, "steps"),
        scoring=partial(_show_progress, "pictures"),
    )
    _show(result, chosen, per_class)
    append_result(results, result.record())


def _training_pictures(
    benchmark: SegmentationBenchmark, data: Path, training_data: Path | None
) -> list[LabelledPicture]:
    if training_data is None and len(benchmark.splits) == 1:
        raise ValueError(
            f"{benchmark.name} has no split to train on; give a folder of its own as "
            "--training-data."
        )
    return benchmark.pictures(training_data or data, split=benchmark.splits[-1])


def _own_size(model: ImageTextModel) -> int:
    card = model.card
    if isinstance(card, SamClipCard):
        return card.segmentation_image_size
    return model.preprocessing.image_size


def _show(result: ProbeResult, benchmark: SegmentationBenchmark, per_class: bool) -> None:
    protocol = result.protocol
    say(
        f"a {protocol['head']} head on features of the {protocol['features']} at "
        f"{protocol['image_size']} pixels: {protocol['steps']} steps on "
        f"{protocol['train_images']} pictures, scored on {protocol['images']}"
    )
    shown = {key: value for key, value in result.metrics.items() if per_class or "/" not in key}
    show_table(("", ""), [[key, f"{value:.2%}"] for key, value in shown.items()])
    published = PUBLISHED_MIOU.get((benchmark.name, protocol["head"]))
    if published is not None:
        figures = ", ".join(f"{whose} {figure:.1%}" for whose, figure in published.items())
        say(f"published: miou of ViT-B towers: {figures} (arXiv 2310.15308, Table 3)")


def _show_progress(what: str, progress: Progress) -> None:
    status(
        f"{what} {progress.done}/{progress.total}, {progress.rate:.2f} a second, "
        f"{duration(progress.remaining_seconds)} left"
    )
