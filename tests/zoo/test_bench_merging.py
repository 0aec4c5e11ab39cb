"""The merged model is compared with both of its teachers, and each stage is left out once.

Run: pytest tests/zoo/test_bench_merging.py
"""

from __future__ import annotations

from pathlib import Path

import pytest

from zoo.commands.bench_merging import Figures, goals, merging
from zoo.commands.merging_stages import ABLATIONS, CLIP_RUN, LAST_STAGE, SAM_RUN, all_runs
from zoo.eval.results import read_results

CLIP = Figures(CLIP_RUN, {64: 0.5}, None, None, {64: 0.1, 128: 0.2})
SAM = Figures(SAM_RUN, {}, 0.8, 1.0, {})


def test_every_run_finds_the_weights_that_it_begins_with() -> None:
    names = [run.name for run in all_runs(ablations=True)]
    assert len(set(names)) == len(names)
    for run in all_runs(ablations=True):
        assert run.after is None or names.index(run.after) < names.index(run.name)


def test_what_is_kept_is_counted_at_the_worst_size_and_what_is_gained_against_the_best_one() -> (
    None
):
    merged = Figures(LAST_STAGE, {64: 0.5, 96: 0.49, 128: 0.48}, 0.76, 0.9, {64: 0.22, 128: 0.27})
    masks, words, segmentation = goals(CLIP, SAM, merged)
    assert "95.0%" in masks
    assert "96.0%" in words
    assert "7.0 mIoU" in segmentation


@pytest.mark.slow
def test_the_whole_way_leaves_figures_of_both_teachers_and_of_every_run(tmp_path: Path) -> None:
    results = tmp_path / "results.jsonl"
    merging(folder=tmp_path / "merging", quick=True, results=results)
    metrics = {record["model"]: set(record["metrics"]) for record in read_results(results)}
    words = {"acc1/64", "acc1/96", "acc1/128", "miou/64", "miou/128"}
    masks = {"mask_iou", "sam_agreement"}
    assert metrics[CLIP_RUN] == words - {"acc1/96", "acc1/128"}
    assert metrics[SAM_RUN] == masks
    assert metrics[LAST_STAGE] == words | masks
    assert set(metrics) == {CLIP_RUN, SAM_RUN} | {run.name for run in all_runs(ablations=True)}
    assert {run.name for run in ABLATIONS} < set(metrics)
