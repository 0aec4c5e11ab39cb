"""Three small time steps on disk, and a run over them that takes seconds.

Used by .venv/bin/pytest tests/training/continual tests/zoo/test_continual_command.py
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from tiny_shards import make_samples
from toy_batches import toy_recipe

from zoo.reinforced_data.shards.write import write_shards
from zoo.training.continual.plan import Plan, read_plan
from zoo.training.continual.run import ContinualRun

NAMES = ("one", "two", "three")
SIZES = (12, 10, 9)


def write_plan(folder: Path) -> Path:
    """Write shards of every step, five samples each, and the plan; return the plan."""
    samples, steps = iter(make_samples(sum(SIZES))), []
    for name, size in zip(NAMES, SIZES, strict=True):
        step = [replace(next(samples), key=f"{name}{i}") for i in range(size)]
        write_shards(step, folder / name, samples_per_shard=5)
        steps.append({"name": name, "shards": name, "validation": f"{name}/00000.tar"})
    path = folder / "plan.json"
    path.write_text(json.dumps({"recipe": "tiny-continual", "steps": steps}))
    return path


def toy_run(plan: Path | Plan, folder: Path, **changes: Any) -> ContinualRun:
    """Return a run of four updates a time step; `changes` are of the run or of its recipe."""
    ours = {key: changes.pop(key) for key in ("method", "buffer", "patching") if key in changes}
    recipe = toy_recipe(
        folder,
        batch_size=4,
        samples_seen=changes.pop("samples_seen", 16),
        warmup_samples=changes.pop("warmup_samples", 8),
        checkpoint_every=2,
        **changes,
    )
    steps = plan if isinstance(plan, Plan) else read_plan(plan)
    return ContinualRun(plan=steps, recipe=recipe, **ours)
