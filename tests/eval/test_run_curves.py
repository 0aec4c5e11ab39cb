"""Curves of training runs come from their folders, whatever state those are in.

Run: pytest tests/eval/test_run_curves.py
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from zoo.eval.report import FigureSection, Section, TableSection, write_report
from zoo.eval.run_curves import figures_of, run_sections, samples_to_reach
from zoo.eval.training_run import read_runs


def write_run(
    folder: Path,
    accuracies: Sequence[float],
    *,
    steps: int = 8,
    recipe: dict[str, Any] | None = None,
) -> Path:
    """Write a run of `steps` steps of 10 samples, evaluated evenly."""
    folder.mkdir(parents=True)
    every = steps // max(1, len(accuracies))
    lines: list[dict[str, float]] = []
    for step in range(1, steps + 1):
        line = {"step": step, "samples_seen": 10 * step, "loss": 1 / step}
        line |= {"contrastive_loss": 1 / step, "learning_rate": 1e-3, "logit_scale": 14.0}
        line |= {"samples_per_second": 100.0 + step, "data_wait_fraction": 0.25}
        if accuracies and step % every == 0:
            line["eval.acc1"] = accuracies[step // every - 1]
        lines.append(line)
    text = "".join(f"{json.dumps(line)}\n" for line in lines)
    (folder / "metrics.jsonl").write_text(text)
    if recipe is not None:
        session = {"time": "2026-01-01T00:00:00+00:00", "first_step": 1, "command": "zoo train x"}
        description = {"recipe": recipe, "sessions": [session]}
        (folder / "recipe.json").write_text(json.dumps(description))
    return folder


def table(sections: Sequence[Section], heading: str) -> TableSection:
    (found,) = [s for s in sections if isinstance(s, TableSection) and s.heading == heading]
    return found


def test_every_figure_is_drawn_evaluations_and_losses_first(tmp_path: Path) -> None:
    runs = read_runs([write_run(tmp_path / "plain", [0.1, 0.2])])
    assert figures_of(runs) == [
        "eval.acc1",
        "loss",
        "contrastive_loss",
        "logit_scale",
        "learning_rate",
        "samples_per_second",
        "data_wait_fraction",
    ]
    drawn = [section for section in run_sections(runs) if isinstance(section, FigureSection)]
    assert [section.heading for section in drawn[:3]] == [
        "Top-1 accuracy",
        "Loss",
        "Contrastive loss",
    ]
    (line,) = drawn[0].figure.axes[0].lines
    assert line.get_xydata().tolist() == [[40, 0.1], [80, 0.2]]  # pyright: ignore


def test_the_table_tells_how_many_samples_reach_the_other_runs_end(tmp_path: Path) -> None:
    plain = write_run(tmp_path / "plain", [0.1, 0.15, 0.2, 0.2])
    reinforced = write_run(tmp_path / "reinforced", [0.1, 0.3, 0.4, 0.5])
    sections = run_sections(read_runs([plain, reinforced]))
    rows = table(sections, "Samples needed for the same figure").rows
    # From 0.1 after 20 samples to 0.3 after 40: 0.2 after 30, where plain needed 80.
    assert rows == [
        ["top-1 accuracy", "plain", 0.2, 80, "reinforced", 30, pytest.approx(80 / 30)],
        ["top-1 accuracy", "reinforced", 0.5, 80, "plain", None, None],
    ]
    figure = next(section for section in sections if isinstance(section, FigureSection)).figure
    assert [line.get_label() for line in figure.axes[0].lines] == ["plain", "reinforced"]


def test_samples_to_reach_a_value_lie_on_the_line_between_two_points() -> None:
    curve = [(10.0, 0.2), (20.0, 0.1), (40.0, 0.5)]
    assert samples_to_reach(curve, 0.3) == pytest.approx(30)
    assert samples_to_reach(curve, 0.1) == 10
    assert samples_to_reach(curve, 0.6) is None


def test_the_recipes_show_first_where_they_differ(tmp_path: Path) -> None:
    folders = [
        write_run(tmp_path / task, [], recipe={"model": "m", "task": task, "betas": [0.9, 0.95]})
        for task in ("plain", "reinforced")
    ]
    sections = run_sections(read_runs(folders))
    assert table(sections, "Where the recipes differ").rows == [["task", "plain", "reinforced"]]
    same = table(sections, "Where they are the same").rows
    assert same == [["model", "m"], ["betas", "[0.9, 0.95]"]]
    assert len(table(sections, "How the runs were made").rows) == 2


def test_a_run_that_goes_on_is_drawn_without_its_torn_line(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", [])
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('{"step": 9, "samples_se')
    (run,) = read_runs([folder])
    assert [line["step"] for line in run.lines] == list(range(1, 9))


def test_a_long_run_makes_a_light_page(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", [], steps=20_000)
    page = write_report(tmp_path / "r.html", title="r", sections=run_sections(read_runs([folder])))
    assert page.stat().st_size < 2_000_000


def test_runs_in_folders_of_one_name_are_told_apart(tmp_path: Path) -> None:
    folders = [write_run(tmp_path / seed / "run", []) for seed in ("a", "b")]
    assert [run.name for run in read_runs(folders)] == [str(folder) for folder in folders]


def test_a_folder_that_is_no_run_is_told(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"is not the folder of a training run"):
        read_runs([tmp_path])
    (tmp_path / "metrics.jsonl").write_text('{"step": 1')
    with pytest.raises(ValueError, match="has no logged step yet"):
        read_runs([tmp_path])
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "samples_seen": 8}\nepoch,loss\n')
    with pytest.raises(ValueError, match=r"line 2 is not a step of a run \('epoch,loss'\)"):
        read_runs([tmp_path])
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "samples_seen": 8}\n')
    (tmp_path / "recipe.json").write_text("[]")
    with pytest.raises(ValueError, match=r"recipe\.json' does not describe a run"):
        read_runs([tmp_path])
