"""Training runs on real shards, to be killed, resumed and compared by what their folders hold."""

from __future__ import annotations

import multiprocessing
import random
import shutil
import time
from collections.abc import Iterator
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from tiny_shards import make_samples
from torch import Tensor
from toy_batches import ALONE, toy_recipe

from zoo.reinforced_data.loading.loader import Loader
from zoo.reinforced_data.shards.write import write_shards
from zoo.training.checkpoints.folders import checkpoints
from zoo.training.loop import train
from zoo.training.parallel.world import training_world
from zoo.training.recipes.recipe import Recipe
from zoo.training.run import build_loader, build_model

Shown = dict[str, list[list[int]]]
"""By run: the token ids that this process has shown the model, a batch at a time, flattened."""

# A server that has imported everything forks processes in milliseconds.
_SERVER = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload(["run_folders"])


def shard_recipe(shards: Path, output: Path, **changes: Any) -> Recipe:
    """Return 12 steps of 8 of 24 pictures, written to `shards` if they are not there yet."""
    if not shards.exists():
        write_shards(make_samples(24), shards, samples_per_shard=9)
    return toy_recipe(output, data=str(shards), **changes)


def resume(recipe: Recipe) -> None:
    """Begin or go on, alone and with one thread."""
    torch.set_num_threads(1)
    model = build_model(recipe)
    train(recipe, model=model, loader=build_loader(recipe, model), world=ALONE, resume=True)


def start(recipe: Recipe) -> BaseProcess:
    """Begin or go on in a process of its own, which may be killed."""
    process = _SERVER.Process(target=_resume_in_process, args=(recipe,))
    process.start()
    return process


def _resume_in_process(recipe: Recipe) -> None:
    # As in a process that a shell starts: the loader's workers are its children and end after it.
    multiprocessing.set_start_method("fork", force=True)
    resume(recipe)


class RecordingLoader(Loader):
    """Remembers which captions it gave out."""

    shown: list[list[int]]

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        for batch in super().__iter__():
            self.shown.append(batch["text"].flatten().tolist())
            yield batch


def run_all(recipes: list[Recipe]) -> Shown:
    """Begin or go on with these runs, one after another, as a process among others or alone."""
    torch.set_num_threads(1)
    shown: Shown = {}
    with training_world("cpu") as world:
        for recipe in recipes:
            model = build_model(recipe)
            loader = build_loader(recipe, model, world)
            loader.__class__, loader.shown = RecordingLoader, []  # pyright: ignore
            train(recipe, model=model, loader=loader, world=world, resume=True)
            shown[recipe.output.name] = loader.shown  # pyright: ignore[reportAttributeAccessIssue]
    return shown


def kill_and_resume(recipe: Recipe, kills: int, rng: random.Random) -> int:
    """Kill a run at random moments, again and again, then let it end; return how often it died."""
    died = 0
    for _ in range(kills):
        process = start(recipe)
        seen = _size(recipe.output)
        while process.is_alive() and _size(recipe.output) == seen:  # until it has done something
            time.sleep(0.001)
        process.join(rng.uniform(0, 0.5))
        process.kill()
        process.join()
        died += process.exitcode != 0
    resume(recipe)
    return died


def same_weights(first: Path, second: Path) -> bool:
    """Whether two finished runs ended with the same bits."""
    ours, theirs = (load_file(output / "weights.safetensors") for output in (first, second))
    return ours.keys() == theirs.keys() and all(torch.equal(ours[k], theirs[k]) for k in ours)


def gone_back(run: Path, copy: Path) -> Path:
    """Return a copy of a run as if it had been killed before it wrote its last checkpoint."""
    shutil.copytree(run, copy)
    shutil.rmtree(checkpoints(copy)[-1])
    return copy


def _size(output: Path) -> int:
    path = output / "metrics.jsonl"
    return path.stat().st_size if path.exists() else 0
