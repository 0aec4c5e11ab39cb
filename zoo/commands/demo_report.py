"""The page that `zoo demo` leaves: from its JSON lines and pictures alone."""

from __future__ import annotations

import io
from itertools import islice
from pathlib import Path

from PIL import Image

from zoo.commands.demo_stages import MODEL, DemoFolder
from zoo.commands.demo_vision_language import answer_sections
from zoo.eval.features import image_features
from zoo.eval.plots import run_colours
from zoo.eval.report import (
    ImageGridSection,
    Section,
    Stat,
    StatsSection,
    TextSection,
    Tile,
    write_report,
)
from zoo.eval.report_sections import (
    comparison_section,
    curve_section,
    provenance_section,
    results_table,
)
from zoo.eval.results import Record, read_results
from zoo.eval.zero_shot import classifier_weights, predicted_labels
from zoo.models.load import load_image_text_model
from zoo.reinforced_data.shards.find import find_shards
from zoo.reinforced_data.shards.read import read_shard
from zoo.reinforced_data.shards.sample import Sample
from zoo.reinforced_data.sidecars.sidecar import Sidecar, sidecar_path
from zoo.reinforced_data.tiny_world import CLASSIFICATION_TEMPLATES, class_names

RUNS = ("teacher", "plain", "reinforced")
_SHOWN_SCENES = 12
_SHOWN_REINFORCED = 3
_INTRODUCTION = """\
Scenes of coloured shapes were rendered, and a teacher was trained on clean captions of scenes \
with every combination of colour and shape. What it knows of the students' scenes was stored once \
beside their shards: recorded augmentations, its embeddings of them, and synthetic captions. Two \
students with the same initial weights then saw the same number of the same samples. One learned \
from the captions that came with the pictures, half of which say nothing or something wrong, as \
on the web. The other learned from what was stored.

All are evaluated on combinations of colour and shape that no scene of the students shows."""


def write_demo_report(paths: DemoFolder, answering_run: str) -> Path:
    """Write `report.html` and return its path; `answering_run` is the vision-language model's."""
    records = read_results(paths.results)
    colours = run_colours(RUNS)
    logs = {run: paths.run(run) / "metrics.jsonl" for run in RUNS}
    classified = _of_task(records, "zeroshot_classification")
    retrieved = _of_task(records, "zeroshot_retrieval")
    sections: list[Section] = [
        TextSection(text=_INTRODUCTION),
        StatsSection(stats=_headline(classified)),
        comparison_section(
            classified + retrieved,
            colours,
            heading="Zero-shot on held-out combinations",
            metrics=["acc1", "text_retrieval_recall@1", "image_retrieval_recall@1"],
        ),
        curve_section(
            {run: logs[run] for run in ("plain", "reinforced")},
            colours,
            heading="Students' losses",
            caption="The losses are of different kinds: their levels cannot be compared.",
        ),
        _predictions(paths),
        _reinforced_samples(paths),
        *answer_sections(paths, answering_run, _of_task(records, "vision_language")),
        results_table(classified, heading="Classification", columns=["model", "images"]),
        results_table(retrieved, heading="Retrieval", columns=["model", "images"]),
        results_table(
            _of_task(records, "export"),
            heading="Core ML packages",
            columns=["tower", "precision"],
            note="Executed from the saved files by zoo's interpreter and compared with the model; "
            "nothing was run inside Apple's Core ML runtime.",
        ),
        results_table(
            _of_task(records, "latency"),
            heading="Latency on this machine",
            columns=["part", "variant", "threads"],
            note="PyTorch on the CPU, batch 1, interleaved rounds.",
        ),
        provenance_section(records),
    ]
    title = "zoo demo: a student that learns from stored knowledge"
    return write_report(paths.root / "report.html", title=title, sections=sections)


def _of_task(records: list[Record], task: str) -> list[Record]:
    return [record for record in records if record["protocol"]["task"] == task]


def _headline(classified: list[Record]) -> list[Stat]:
    accuracy = {record["model"]: record["metrics"]["acc1"] for record in classified}
    return [
        Stat(value=f"{accuracy[run]:.1%}", label=f"top-1 accuracy, {label}")
        for run, label in (
            ("plain", "plain student"),
            ("reinforced", "reinforced student"),
            ("teacher", "teacher"),
        )
    ]


def _predictions(paths: DemoFolder) -> ImageGridSection:
    """Held-out scenes with what the reinforced student calls them."""
    model = load_image_text_model(MODEL, weights=paths.weights("reinforced"))
    names = class_names()
    samples = _first_samples(paths.test_data, _SHOWN_SCENES)
    images = [Image.open(io.BytesIO(sample.image)) for sample in samples]
    features = image_features(model, images, len(images))
    predictions = predicted_labels(
        features, classifier_weights(model, names, CLASSIFICATION_TEMPLATES)
    )
    tiles = [
        Tile(
            image=image,
            caption=sample.captions[0],
            verdict=names[prediction],
            correct=prediction == sample.label,
        )
        for image, sample, prediction in zip(images, samples, predictions.tolist(), strict=True)
    ]
    return ImageGridSection(
        heading="What the reinforced student sees",
        tiles=tiles,
        note=f"The first {len(tiles)} held-out scenes, with a caption and the best of "
        f"{len(names)} classes.",
    )


def _reinforced_samples(paths: DemoFolder) -> ImageGridSection:
    """Scenes of the students' shards, one of their recorded augmentations, their captions."""
    shard = find_shards(paths.student_data)[0]
    sidecar = Sidecar.open(sidecar_path(shard))
    tiles: list[Tile] = []
    for row, sample in enumerate(_first_samples(shard, _SHOWN_REINFORCED)):
        image = Image.open(io.BytesIO(sample.image)).convert("RGB")
        tiles.append(Tile(image=image, caption=f"came with: {sample.captions[0]}"))
        for index, caption in enumerate(sidecar.captions(row)):
            view = sidecar.policy.replay(image, sidecar.augment_params(row, index), image.width)
            tiles.append(Tile(image=view, caption=f"stored: {caption}"))
    return ImageGridSection(
        heading="What the shards and their sidecars hold",
        tiles=tiles,
        note="Scenes with the caption they came with, then replayed augmentations with the "
        "synthetic captions of the same scene.",
    )


def _first_samples(shards: Path, count: int) -> list[Sample]:
    return list(islice(read_shard(find_shards(shards)[0]), count))
