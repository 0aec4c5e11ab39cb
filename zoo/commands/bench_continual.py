"""`zoo bench continual`: what models forget in a world where new colours arrive over time."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import get_args

from zoo.commands.console import heading, say, show_table, status
from zoo.commands.continual import RESULTS, ContinualOptions, run_continual
from zoo.eval.results import append_result, read_results
from zoo.models.class_names import CLASS_NAMES_FILE
from zoo.reinforced_data.shards.sample import Sample
from zoo.reinforced_data.shards.write import write_shards
from zoo.reinforced_data.sidecars.tensor_file import write_whole
from zoo.reinforced_data.tiny_world import COLOURS, class_names, scene_samples
from zoo.training.continual.plan import read_plan
from zoo.training.continual.replay import Method
from zoo.training.recipes.registry import get_recipe

RECIPE = "tiny-continual"
TIME_STEPS = tuple(map("-".join, zip(COLOURS[::2], COLOURS[1::2], strict=True)))
"""Named by the two colours that arrive."""
_TRAIN_SEED, _TEST_SEED = 11, 12
_QUICK_SAMPLES_SEEN = 1_024


def continual(
    *,
    folder: Path = Path("continual"),
    method: tuple[Method, ...] = get_args(Method),
    scenes: int = 3_000,
    test_scenes: int = 400,
    seed: int = 0,
    quick: bool = False,
    results: Path = Path("results.jsonl"),
) -> None:
    """Compare what models keep of the past and learn of the new, method by method.

    The tiny world in four time steps, each with two new colours in all shapes; the score is the
    zero-shot top-1 accuracy among all 64 classes. Finished parts in the folder are kept.

    Args:
        folder: data, runs and reports.
        method: what is compared, each with the same budget a step (the oracle: what all steps had).
        scenes: training scenes of each time step.
        test_scenes: test scenes of each.
        seed: of the runs; the data stay the same.
        quick: 8 updates a time step and 200 scenes: only that everything works.
        results: file that the JSON lines are appended to.
    """
    recipe = replace(get_recipe(RECIPE), seed=seed)
    if quick:
        scenes, test_scenes = 200, 50
        few = _QUICK_SAMPLES_SEEN
        recipe = replace(recipe, samples_seen=few, warmup_samples=0)
    plan = read_plan(_write_world(folder / f"data-{scenes}-{test_scenes}", scenes, test_scenes))
    rows = []
    for name in method:
        heading(f"{name}, seed {seed}")
        run = folder / f"{name}-seed{seed}-{recipe.samples_seen}"
        options = ContinualOptions(recipe=recipe, folder=run, method=name, resume=True)
        run_continual(plan, options)
        record = read_results(run / RESULTS)[-1]
        append_result(results, record)
        rows.append([name, *(f"{value:.1%}" for value in record["metrics"].values())])
    heading(f"{len(TIME_STEPS)} time steps of {recipe.samples_seen} samples, seed {seed}")
    show_table(["method", "in domain", "backward transfer", "forward transfer"], rows)


def _write_world(folder: Path, scenes: int, test_scenes: int) -> Path:
    """Write shards of every time step unless they are there, and return the plan."""
    plan = folder / "plan.json"
    if plan.exists():
        say(f"{folder} is finished; kept")
        return plan
    for kind, count, seed in (
        ("train", scenes, _TRAIN_SEED),
        ("test", test_scenes, _TEST_SEED),
    ):
        for step, samples in _scenes_by_step(count, seed).items():
            part = folder / step / kind
            for half in part.glob("*.tar"):  # of a run that was killed
                half.unlink()
            write_shards(samples, part)
    (folder / CLASS_NAMES_FILE).write_text("\n".join(class_names()) + "\n", encoding="utf-8")
    steps = [
        {"name": step, "shards": f"{step}/train", "validation": f"{step}/test"}
        for step in TIME_STEPS
    ]
    content = {"recipe": RECIPE, "class_names": CLASS_NAMES_FILE, "steps": steps}
    write_whole(plan, [json.dumps(content, indent=2).encode() + b"\n"])
    return plan


def _scenes_by_step(count: int, seed: int) -> dict[str, list[Sample]]:
    """The first `count` scenes of one object with a colour of each time step."""
    names, found = class_names(), {step: [] for step in TIME_STEPS}
    for sample in scene_samples(1 << 30, seed=seed, split="all", max_objects=1):
        assert sample.label is not None
        colour = names[sample.label].partition(" ")[0]
        samples = found[next(step for step in TIME_STEPS if colour in step.split("-"))]
        if len(samples) < count:
            samples.append(sample)
            done = sum(map(len, found.values()))
            status(f"scenes {done}/{count * len(found)}")
            if done == count * len(found):
                break
    return found
