"""The figures of a run reach metrics.jsonl, TensorBoard and Weights & Biases, each step once.

Run: pytest tests/training/metrics/test_run_log.py
"""

from __future__ import annotations

import json
import math
import resource
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from toy_batches import ALONE, toy_recipe

from zoo.training.metrics.metrics_file import MetricsFile
from zoo.training.metrics.progress import Progress
from zoo.training.metrics.run_log import RunLog
from zoo.training.metrics.weights_and_biases import RUN_ID_NAME


def progress_at(step: int, **changes: Any) -> Progress:
    figures: dict[str, Any] = {
        "step": step,
        "steps": 20,
        "samples_seen": 8 * step,
        "loss": 1 / step,
        "losses": {"contrastive_loss": 1 / step},
        "gauges": {"logit_scale": 14.0},
        "learning_rate": 1e-3,
        "samples_per_second": 100.0,
        "data_wait_fraction": 0.1,
        "evaluation": {"acc1": 0.5} if step % 4 == 0 else {},
        "elapsed_seconds": 0.1 * step,
        "gradient_norm": 2.0,
        "peak_memory_bytes": None,
    }
    return Progress(**(figures | changes))


def logged(output: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]


def events(output: Path, tag: str) -> list[tuple[int, float]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    accumulator = EventAccumulator(str(output / "tensorboard"))
    accumulator.Reload()
    return [(event.step, event.value) for event in accumulator.Scalars(tag)]


def test_a_resumed_run_has_each_step_once_in_every_place(tmp_path: Path) -> None:
    recipe = toy_recipe(tmp_path)
    killed = RunLog(recipe, ALONE, step=0)  # never closed, as a killed process leaves it
    for step in range(1, 7):
        killed.append(progress_at(step))
    with RunLog(recipe, ALONE, step=4) as log:  # the checkpoint before
        for step in range(5, 9):
            log.append(progress_at(step, loss=2 / step))
    assert [line["step"] for line in logged(tmp_path)] == list(range(1, 9))
    loss = dict(events(tmp_path, "loss"))
    assert loss == pytest.approx({s: 1 / s if s <= 4 else 2 / s for s in range(1, 9)})
    assert len(events(tmp_path, "loss")) == 8
    assert events(tmp_path, "eval/acc1") == [(4, 0.5), (8, 0.5)]


def test_the_other_processes_write_nothing(tmp_path: Path) -> None:
    with RunLog(toy_recipe(tmp_path), replace(ALONE, rank=1, size=2), step=0) as log:
        log.append(progress_at(1))
    assert not list(tmp_path.iterdir())


def test_recipe_json_tells_a_stranger_what_ran(tmp_path: Path) -> None:
    with RunLog(toy_recipe(tmp_path), ALONE, step=0):
        pass
    with RunLog(toy_recipe(tmp_path, workers=3), ALONE, step=4):
        pass
    description = json.loads((tmp_path / "recipe.json").read_text())
    assert description["recipe"]["model"] == "mobileclip-tiny"
    assert description["recipe"]["workers"] == 3
    first, second = description["sessions"]
    assert (first["first_step"], second["first_step"]) == (1, 5)
    assert (first["changed"], second["changed"]) == ({}, {"workers": 3})
    assert first["machine"]["device"] == "cpu" and first["machine"]["processes"] == 1
    assert {"python", "torch", "zoo"} <= first["versions"].keys() and first["command"]


def test_a_recipe_json_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "recipe.json").write_text('{"name": "soup"}')
    with pytest.raises(ValueError, match=r"recipe\.json' does not describe a run; delete it"):
        RunLog(toy_recipe(tmp_path), ALONE, step=0)


def test_memory_is_logged_where_there_is_a_card() -> None:
    assert "peak_memory_bytes" not in progress_at(1).to_record()
    assert progress_at(1, peak_memory_bytes=5).to_record()["peak_memory_bytes"] == 5


def test_a_gradient_that_overflowed_float16_is_left_out() -> None:
    assert progress_at(1).to_record()["gradient_norm"] == 2.0
    assert "gradient_norm" not in progress_at(1, gradient_norm=math.inf).to_record()


@pytest.mark.slow
def test_weights_and_biases_goes_on_with_the_same_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    recipe = toy_recipe(tmp_path, wandb_project="zoo-tests")
    with RunLog(recipe, ALONE, step=0) as log:
        log.append(progress_at(1))
    run_id = (tmp_path / RUN_ID_NAME).read_text().strip()
    with RunLog(recipe, ALONE, step=1) as log:
        log.append(progress_at(2))
    assert (tmp_path / RUN_ID_NAME).read_text().strip() == run_id
    written = list((tmp_path / "wandb").glob(f"offline-run-*-{run_id}/run-{run_id}.wandb"))
    assert written and all(path.stat().st_size > 0 for path in written)


def test_a_missing_wandb_is_told_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(ValueError, match=r"'mine', which needs wandb; install zoo\[wandb\]"):
        RunLog(toy_recipe(tmp_path, wandb_project="mine"), ALONE, step=0)


def test_a_full_disk_is_told_with_the_name_of_the_file(tmp_path: Path) -> None:
    metrics = MetricsFile(tmp_path / "metrics.jsonl")
    metrics.append({"step": 1})
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20, hard))
    try:
        with pytest.raises(OSError, match="File too large") as error:
            metrics.append({"step": 2, "loss": 0.123456789})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert error.value.filename == str(metrics.path)
    metrics.keep_until(2)
    assert logged(tmp_path) == [{"step": 1}]


def test_metrics_lose_later_steps_and_a_torn_line(tmp_path: Path) -> None:
    metrics = MetricsFile(tmp_path / "metrics.jsonl")
    for step in range(1, 5):
        metrics.append({"step": step, "loss": 0.5})
    with metrics.path.open("a") as file:
        file.write('{"step": 5, "lo')
    metrics.keep_until(3)
    assert [json.loads(line)["step"] for line in metrics.path.read_text().splitlines()] == [1, 2, 3]


def test_a_metrics_file_of_something_else_is_refused(tmp_path: Path) -> None:
    metrics = MetricsFile(tmp_path / "metrics.jsonl")
    metrics.path.write_text("epoch,loss\n1,2\n")
    with pytest.raises(ValueError, match=r"metrics\.jsonl' has a line that is not a step"):
        metrics.keep_until(3)
