"""The merged model is compared with both of its teachers, and each stage is left out once.

Run: pytest tests/zoo/test_bench_merging.py
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from coco_files import write_coco

from zoo.cli import main
from zoo.commands.bench_merging import Figures, goals, merging
from zoo.commands.merging_data import CAPTIONED, PICTURES, SAM_DATA, MergingFolder
from zoo.commands.merging_photographs import Photographs
from zoo.commands.merging_stages import ABLATIONS, CLIP_RUN, LAST_STAGE, SAM_RUN, all_runs
from zoo.eval.results import read_results
from zoo.reinforced_data.shards.read import read_shard
from zoo.reinforced_data.sidecars.sidecar import Sidecar

CLIP = Figures(
    CLIP_RUN, {("acc1", 64): 0.5, ("mean_recall@1", 64): 0.8}, None, None, {64: 0.1, 128: 0.2}
)
SAM = Figures(SAM_RUN, {}, 0.8, 1.0, {})


def test_every_run_finds_the_weights_that_it_begins_with() -> None:
    names = [run.name for run in all_runs(ablations=True)]
    assert len(set(names)) == len(names)
    for run in all_runs(ablations=True):
        assert run.after is None or names.index(run.after) < names.index(run.name)


def test_what_is_kept_is_counted_at_the_worst_size_and_what_is_gained_against_the_best_one() -> (
    None
):
    words = {("acc1", 64): 0.5, ("acc1", 96): 0.48, ("mean_recall@1", 64): 0.8}
    merged = Figures(LAST_STAGE, words, 0.76, 0.9, {64: 0.22, 128: 0.27})
    masks, accuracy, recall, segmentation = goals(CLIP, SAM, merged)
    assert "95.0%" in masks
    assert "96.0%" in accuracy and "acc1" in accuracy
    assert "100.0%" in recall and "mean_recall@1" in recall
    assert "7.0 mIoU" in segmentation


def test_photographs_and_objects_stand_among_windows(tmp_path: Path) -> None:
    data = Photographs(folder=write_coco(tmp_path / "coco"), copies=2, windows=4)
    paths = MergingFolder(tmp_path / "merging")
    data.write(paths)
    counts = {name: count_captioned(paths, name) for name in (CAPTIONED, PICTURES, SAM_DATA)}
    assert counts == {CAPTIONED: (14, 14), PICTURES: (14, 0), SAM_DATA: (2, 2)}
    photographs, objects = data.tests(paths)
    assert photographs.captions and photographs.labels is None
    assert objects.labels and objects.class_names == ("cat", "dog")
    benchmark, pictures = data.segmentation(paths)
    assert benchmark.class_names == ("cat", "dog") and len(pictures) == 2


def count_captioned(paths: MergingFolder, name: str) -> tuple[int, int]:
    """Samples of some shards, and those of them with a caption."""
    samples = list(read_shard(paths.data(name) / "00000.tar"))
    return len(samples), sum(bool(sample.captions) for sample in samples)


def test_a_folder_without_annotations_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["bench", "merging", "--folder", str(tmp_path / "merging")]
    assert main([*command, "--photographs", str(tmp_path)]) == 2
    assert f"There is no file '{tmp_path}/instances.json'" in capsys.readouterr().err


@pytest.mark.slow
def test_photographs_go_the_whole_way_too(tmp_path: Path) -> None:
    results = tmp_path / "results.jsonl"
    merging(
        folder=tmp_path / "merging",
        photographs=write_coco(tmp_path / "coco", pairs=30),
        quick=True,
        ablations=False,
        results=results,
    )
    metrics = {record["model"]: set(record["metrics"]) for record in read_results(results)}
    words = {f"{name}/{size}" for name in ("acc1", "mean_recall@1") for size in (64, 96, 128)}
    assert words < metrics[LAST_STAGE] and "miou/256" in metrics[LAST_STAGE]
    paths = MergingFolder(tmp_path / "merging" / "coco" / "quick")
    sidecar = Sidecar.open(paths.data(PICTURES) / "00000.reinforced.safetensors")
    assert sidecar.policy == Photographs.policy
    taught = json.loads((paths.run(CLIP_RUN) / "recipe.json").read_text())["recipe"]
    assert tuple(taught["augmentation"]["scale"]) == Photographs.teacher_policy.scale


@pytest.mark.slow
def test_the_whole_way_leaves_figures_of_both_teachers_and_of_every_run(tmp_path: Path) -> None:
    results = tmp_path / "results.jsonl"
    merging(folder=tmp_path / "merging", quick=True, results=results)
    metrics = {record["model"]: set(record["metrics"]) for record in read_results(results)}
    words = {f"{name}/{size}" for name in ("acc1", "miou") for size in (64, 96, 128)}
    masks = {"mask_iou", "sam_agreement"}
    assert metrics[CLIP_RUN] == words - {"acc1/96", "acc1/128"}
    assert metrics[SAM_RUN] == masks
    assert metrics[LAST_STAGE] == words | masks
    assert set(metrics) == {CLIP_RUN, SAM_RUN} | {run.name for run in all_runs(ablations=True)}
    assert {run.name for run in ABLATIONS} < set(metrics)
