"""Conversations a tiny model can learn: one-coloured pictures, and questions about their colour."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from realistic import make_realistic
from task_runs import Interrupted
from torch import Tensor, nn
from toy_batches import ALONE

from zoo.models.fastvlm.language_model import tiny_tokenizer
from zoo.models.fastvlm.prompt import Message, encode_conversation
from zoo.models.fastvlm.vision_language_model import VisionLanguageModel
from zoo.models.load import load_model
from zoo.training.loop import train
from zoo.training.metrics.progress import Progress
from zoo.training.parallel.world import World, training_world
from zoo.training.recipes.recipe import Recipe
from zoo.training.vision_language.prepare import prepare_vision_language
from zoo.training.vision_language.run import (
    build_conversation_loader,
    build_vision_language_model_of,
)
from zoo.training.vision_language.settings import VisionLanguage

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (220, 20, 20),
    "green": (20, 180, 20),
    "blue": (20, 20, 220),
}
SIZE = 64
"""Pixels a side of a view, which is one visual token."""


def conversation_recipe(output: Path, **changes: Any) -> Recipe:
    """Return a run of 6 steps of 4 samples; `changes` replace any field."""
    fields: dict[str, Any] = {
        "model": "fastvlm-tiny",
        "task": "visual-instruction",
        "data": "toy",
        "output": output,
        "batch_size": 4,
        "samples_seen": 24,
        "checkpoint_every": 2,
        "log_every": 1,
        "weight_decay": 0.0,
        "vision_language": VisionLanguage(image_size=SIZE),
    }
    return Recipe(**(fields | changes))


def toy_model(settings: VisionLanguage | None = None) -> VisionLanguageModel:
    """Return fastvlm-tiny at 64 pixels, its weights as if trained, prepared for `settings`."""
    torch.manual_seed(0)
    model = load_model("fastvlm-tiny", weights=None, reparameterize=False, image_size=SIZE)
    make_realistic(model)
    prepare_vision_language(model, settings or VisionLanguage())
    return model


def toy_conversations(
    seed: int, size: int, views: tuple[int, ...] = (1, 0, 2)
) -> dict[str, Tensor]:
    """Return a batch of `size` samples that have as many pictures as `views` says, in turn."""
    generator = torch.Generator().manual_seed(seed)
    counts = [views[index % len(views)] for index in range(size)]
    samples = [_sample(count, generator) for count in counts]
    length = max(len(ids) for ids, _, _ in samples)
    most = max(1, *counts)
    return {
        "input_ids": torch.stack([_padded(ids, length, 0) for ids, _, _ in samples]),
        "labels": torch.stack([_padded(labels, length, -100) for _, labels, _ in samples]),
        "attention_mask": torch.stack(
            [_padded([1] * len(ids), length, 0) for ids, _, _ in samples]
        ),
        "images": torch.stack([_views(pictures, most) for _, _, pictures in samples]),
        "views": torch.tensor(counts),
    }


class ToyConversations:
    """Endless different batches in passes of five, from any place on: this process's rows."""

    teachers: Mapping[str, Any] = {}

    def __init__(self, recipe: Recipe, world: World = ALONE) -> None:
        self.size = recipe.batch_size
        self.world = world
        self.position = 0

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        while True:
            batch = toy_conversations(self.position, self.size)
            self.position += 1
            yield {k: v.chunk(self.world.size)[self.world.rank] for k, v in batch.items()}
            if self.position % 5 == 0:
                return

    def state_dict(self) -> dict[str, Any]:
        return {"position": self.position}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.position = state["position"]


def run(recipe: Recipe, *, resume: bool = False, stop_after: int | None = None) -> Path:
    """Train, on toy conversations where the recipe's data are "toy"; return the weights file.

    Raises `Interrupted` after step `stop_after`.
    """

    def stop(progress: Progress) -> None:
        if progress.step == stop_after:
            raise Interrupted

    model = build_vision_language_model_of(recipe)
    toy = recipe.data == "toy"
    loader = ToyConversations(recipe) if toy else build_conversation_loader(recipe, model)
    return train(
        recipe, model=model, loader=loader, world=ALONE, resume=resume, on_progress=stop
    ).weights


def train_in_turn(
    output: Path, variants: Mapping[str, Mapping[str, Any]]
) -> dict[str, list[dict[str, float]]]:
    """Train on toy conversations with the changes of every variant, in the world that is there.

    Returns the metrics of every step by variant: only rank 0 has any.
    """
    lines: dict[str, list[dict[str, float]]] = {}
    with training_world("cpu") as world:
        for name, changes in variants.items():
            recipe = conversation_recipe(output / name, **changes)
            seen = lines.setdefault(name, [])
            train(
                recipe,
                model=build_vision_language_model_of(recipe, world.device),
                loader=ToyConversations(recipe, world),
                world=world,
                on_progress=lambda progress, seen=seen: seen.append(progress.to_record()),
            )
    return lines


def gradients_of(module: nn.Module) -> dict[str, Tensor]:
    """Return the gradient of every parameter that has one."""
    return {name: p.grad.clone() for name, p in module.named_parameters() if p.grad is not None}


def trained(recipe: Recipe, **changes: Any) -> Recipe:
    """Return `recipe` with other vision-language settings."""
    assert recipe.vision_language is not None
    return replace(recipe, vision_language=replace(recipe.vision_language, **changes))


def _sample(count: int, generator: torch.Generator) -> tuple[list[int], list[int], list[str]]:
    """Ids, labels and the colours of the pictures."""
    drawn = torch.randint(len(COLOURS), (max(1, count),), generator=generator).tolist()
    colours = [list(COLOURS)[index] for index in drawn]
    pictures = colours[:count]
    asked = "<image>\n" * count + ("what colour?" if count else f"say {colours[0]}.")
    messages = [Message(role="user", text=asked), Message(role="assistant", text=colours[-1])]
    if count == 2:
        messages += [Message(role="user", text="and the first?")]
        messages += [Message(role="assistant", text=f"it is {colours[0]}")]
    ids, is_answer = encode_conversation(tiny_tokenizer(), messages, [1] * count)
    labels = [token if said else -100 for token, said in zip(ids, is_answer, strict=True)]
    return ids, labels, pictures


def _padded(values: list[int], length: int, filling: int) -> Tensor:
    return torch.tensor(values + [filling] * (length - len(values)))


def _views(colours: list[str], most: int) -> Tensor:
    views = torch.zeros(most, 3, SIZE, SIZE, dtype=torch.uint8)
    for view, colour in zip(views, colours, strict=False):
        view += torch.tensor(COLOURS[colour], dtype=torch.uint8)[:, None, None]
    return views
