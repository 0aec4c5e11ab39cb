"""Batches a tiny model can learn: a few kinds of picture, each with its caption and teachers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from zoo.reinforced_data.sidecars.header import TeacherInfo
from zoo.training.parallel.world import World
from zoo.training.recipes.recipe import Recipe
from zoo.training.tasks.task import Task

TEACHER_DIM = 16
ALONE = World(device=torch.device("cpu"))
START, END = 2046, 2047  # ids of mobileclip-tiny's vocabulary


def toy_recipe(output: Path, **changes: Any) -> Recipe:
    """Return a run of 12 steps of 8 samples; `changes` replace any field."""
    fields: dict[str, Any] = {
        "model": "mobileclip-tiny",
        "data": "toy",
        "output": output,
        "batch_size": 8,
        "samples_seen": 96,
        "warmup_samples": 16,
        "checkpoint_every": 4,
        "log_every": 1,
    }
    return Recipe(**(fields | changes))


def toy_batch(
    seed: int, size: int, teachers: tuple[str, ...] = ("one", "two")
) -> dict[str, Tensor]:
    """Return a reinforced batch of `size` different kinds of picture, noisy from `seed`."""
    generator = torch.Generator().manual_seed(seed)
    kinds = torch.randperm(size, generator=generator)
    colours = torch.rand(size, 3, 8, 8, generator=torch.Generator().manual_seed(0))[kinds]
    noise = 0.1 * torch.rand(size, 3, 64, 64, generator=generator)
    pictures = F.interpolate(colours, size=(64, 64)) * 0.9 + noise
    batch = {
        "image": (pictures * 255).to(torch.uint8),
        "text": _captions(kinds, 100),
        "synthetic_text": _captions(kinds, 300),
    }
    for index, name in enumerate(teachers):
        table = torch.randn(3, size, TEACHER_DIM, generator=torch.Generator().manual_seed(index))
        image, text, synthetic = F.normalize(table[0] + 0.5 * table, dim=-1)[:, kinds]
        batch[f"teacher_image.{name}"] = image
        batch[f"teacher_text.{name}"] = text
        batch[f"teacher_synthetic.{name}"] = synthetic
    return batch


def losses_of(task: Task, batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the named losses of one batch, as the training loop computes them."""
    task.check_batch(batch)
    return task.losses(task(batch), batch)


class ToyLoader:
    """Endless different batches in passes of `pass_length`, from any place on."""

    def __init__(self, recipe: Recipe, *, pass_length: int = 5) -> None:
        self.batch_size = recipe.batch_size
        self.pass_length = pass_length
        self.position = 0
        self.teachers = {
            name: TeacherInfo(
                name=name,
                pretrained="toy",
                embed_dim=TEACHER_DIM,
                image_size=64,
                logit_scale=scale,
                storage="fp32",
            )
            for name, scale in (("one", 30.0), ("two", 20.0))
        }

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        while True:
            batch = toy_batch(self.position, self.batch_size)
            self.position += 1
            yield batch
            if self.position % self.pass_length == 0:
                return

    def state_dict(self) -> dict[str, Any]:
        return {"position": self.position}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.position = state["position"]


def _captions(kinds: Tensor, offset: int) -> Tensor:
    """Return token ids (B, 32): start, two words that name the kind, end, padding."""
    tokens = torch.zeros(len(kinds), 32, dtype=torch.int64)
    tokens[:, 0], tokens[:, 3] = START, END
    tokens[:, 1], tokens[:, 2] = offset + kinds, offset + 100 + kinds
    return tokens
