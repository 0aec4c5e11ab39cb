"""How much of the old data is trained on again beside the new, and which samples of it.

Methods of TiC-CLIP (arXiv 2310.16226). At step t, D samples are new; of the steps before it,

    sequential   none                                         D samples in all
    all          everything ("Cumulative-All")                what has arrived so far, tD
    exp          D/2 of step t-1, D/4 of t-2, …, D/2^(t-1)    below 2D ("Cumulative-Exp")
    equal        D/(t-1) of each ("Cumulative-Equal")         at most 2D
    oracle       everything, from scratch each time           tD

Old and new are shown in proportion to their numbers, as one data set that holds both would be, so
every kept sample is seen equally often. `exp` and `equal` bound what must be stored, not only what
is shown: which samples are kept is written as a subset. The samples of a step stand in one random
order, of which a buffer keeps the first; as buffers shrink, none is needed that was once let go.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from zoo.reinforced_data.curation.subset import SUFFIX, write_subset
from zoo.reinforced_data.loading.data_set import DataSet, DataSource
from zoo.reinforced_data.randomness import keyed_rng
from zoo.reinforced_data.shards.remote import find_locations, shard_name
from zoo.training.continual.plan import TimeStep
from zoo.training.recipes.choices import REINFORCED_TASKS
from zoo.training.recipes.recipe import Recipe

Method = Literal["sequential", "all", "exp", "equal", "oracle"]


def replay_sizes(method: Method, sizes: Sequence[int], buffer: int) -> list[int]:
    """Return how many samples of each old step are replayed, oldest step first.

    `sizes` are those of the old steps and `buffer` is D. A step with fewer samples than its share
    gives all that it has.
    """
    age = range(len(sizes), 0, -1)
    match method:
        case "sequential":
            shares = [0 for _ in sizes]
        case "all" | "oracle":
            shares = list(sizes)
        case "exp":
            shares = [buffer // 2**steps for steps in age]
        case "equal":
            shares = [buffer // len(sizes) for _ in sizes]
    return [min(share, size) for share, size in zip(shares, sizes, strict=True)]


def count_samples(recipe: Recipe, step: TimeStep) -> int:
    """Return the number of usable samples of a step; raises what the `Loader` would."""
    return int(_data_set(recipe, step).sizes.sum())


def training_sources(
    recipe: Recipe, steps: Sequence[TimeStep], *, method: Method, buffer: int | None, folder: Path
) -> list[DataSource]:
    """Return what to train on at the last of `steps`, the new data first.

    Args:
        recipe: reads the data; its seed orders the samples that a buffer keeps.
        steps: all that have arrived, oldest first.
        method: how the old data are replayed.
        buffer: D in samples; None is the size of the first step.
        folder: where the subsets of old steps are, `NAME.subset.safetensors` each; those that are
            not there are written.
    """
    *old, new = steps
    sizes = [count_samples(recipe, step) for step in steps]
    kept = replay_sizes(method, sizes[:-1], sizes[0] if buffer is None else buffer)
    sources = [_source(recipe, new, weight=sizes[-1])]
    for step, size, count in zip(old, sizes, kept, strict=False):
        if count == size:
            sources.append(_source(recipe, step, weight=count))
        elif count > 0:
            subset = folder / f"{step.name}{SUFFIX}"
            if not subset.exists():
                keep_samples(recipe, step, count, subset)
            sources.append(_source(recipe, step, weight=count, subset=subset))
    return sources


def keep_samples(recipe: Recipe, step: TimeStep, count: int, path: Path) -> None:
    """Write the subset of the first `count` samples of a step in its random order.

    That order depends on the recipe's seed and the step's name; the same arguments give the same
    bytes, and a smaller `count` keeps some of the samples of a larger one.
    """
    data_set = _data_set(recipe, step)
    order = keyed_rng(recipe.seed, "replay", step.name).permutation(int(data_set.sizes.sum()))
    chosen = np.zeros(len(order), bool)
    chosen[order[:count]] = True
    kept, start = {}, 0
    # In the order in which a DataSet numbers them.
    for shard, location in enumerate(sorted(map(str, find_locations(step.shards)))):
        opened = data_set.open(shard)
        rows = opened.rows[chosen[start : start + len(opened.rows)]]
        keys = [opened.index.keys[row] for row in rows]
        kept[shard_name(location)] = keys, np.ones(len(keys), np.float32)
        start += len(opened.rows)
    write_subset(path, kept, {"made_by": "zoo continual", "step": step.name, "kept": str(count)})


def _source(
    recipe: Recipe, step: TimeStep, *, weight: float = 1.0, subset: Path | None = None
) -> DataSource:
    return DataSource(
        shards=step.shards,
        sidecars=step.sidecars,
        published_set=recipe.published_set,
        weight=weight,
        subset=subset,
    )


def _data_set(recipe: Recipe, step: TimeStep) -> DataSet:
    return DataSet(
        _source(recipe, step),
        reinforced=recipe.task in REINFORCED_TASKS,
        cache_folder=recipe.cache_folder,
    )
