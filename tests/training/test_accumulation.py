"""A batch in parts has the gradient of the whole batch, and leaves no other trace.

Run: pytest tests/training/test_accumulation.py
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from toy_batches import ALONE, toy_batch, toy_recipe

from zoo.training.accumulation import add_gradients
from zoo.training.activation_checkpointing import checkpoint_activations
from zoo.training.parallel.towers import Towers
from zoo.training.recipes.recipe import Recipe
from zoo.training.run import build_model
from zoo.training.tasks.contrastive import ContrastiveTask
from zoo.training.tasks.task import Batch, Features, Task

BATCH = toy_batch(0, 8)


class DropoutTask(ContrastiveTask):
    """Drops features out and remembers what is left."""

    def __init__(self, *arguments: object) -> None:
        super().__init__(*arguments)  # pyright: ignore[reportArgumentType]
        self.seen: list[Tensor] = []

    def forward(self, batch: Batch) -> Features:
        features = super().forward(batch)
        features["image"] = F.dropout(features["image"], 0.5)
        self.seen.append(features["image"].detach())
        return features


def gradients(task: Task, recipe: Recipe, parts: int) -> tuple[dict[str, Tensor], Tensor]:
    """Return the gradient of every parameter, and the loss."""
    task.zero_grad()
    losses = add_gradients(
        task, Towers(task, recipe, ALONE), BATCH, parts=parts, scaled=lambda loss: loss
    )
    found = {name: p.grad.clone() for name, p in task.named_parameters() if p.grad is not None}
    return found, losses["contrastive_loss"]


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    return toy_recipe(tmp_path, precision="float32")


def test_parts_have_the_gradient_of_the_whole_batch(recipe: Recipe) -> None:
    task = ContrastiveTask(build_model(recipe))
    task.eval()  # BatchNorm treats every sample alone
    whole, loss = gradients(task, recipe, 1)
    norm = torch.nn.utils.get_total_norm(list(whole.values()))
    for parts in (2, 4, 8):
        in_parts, same_loss = gradients(task, recipe, parts)
        assert abs(loss - same_loss) <= 1e-6
        assert in_parts.keys() == whole.keys() and len(whole) == len(list(task.parameters()))
        for name, gradient in whole.items():
            assert (in_parts[name] - gradient).norm() <= 1e-5 * norm, name


def test_dropout_falls_the_same_in_both_passes(recipe: Recipe) -> None:
    task = DropoutTask(build_model(recipe))
    torch.manual_seed(5)
    gradients(task, recipe, 2)
    first, second, first_again, second_again = task.seen
    assert torch.equal(first == 0, first_again == 0) and torch.equal(second == 0, second_again == 0)
    assert not torch.equal(first == 0, second == 0)


def test_running_statistics_move_once_for_every_part(recipe: Recipe) -> None:
    task, twin = (ContrastiveTask(build_model(recipe)) for _ in range(2))
    gradients(task, recipe, 2)
    for half in range(2):
        twin({key: value.chunk(2)[half] for key, value in BATCH.items()})
    for (name, ours), plain in zip(task.named_buffers(), twin.buffers(), strict=True):
        assert torch.equal(ours, plain), name


def test_activation_checkpointing_changes_no_bit_and_no_key(recipe: Recipe) -> None:
    plain, frugal = (ContrastiveTask(build_model(recipe)) for _ in range(2))
    checkpoint_activations(frugal)
    expected, _ = gradients(plain, recipe, 1)
    found, _ = gradients(frugal, recipe, 1)
    assert all(torch.equal(found[name], gradient) for name, gradient in expected.items())
    assert frugal.state_dict().keys() == plain.state_dict().keys()
    for (name, buffer), other in zip(frugal.named_buffers(), plain.buffers(), strict=True):
        assert torch.equal(buffer, other), name


def test_activation_checkpointing_keeps_less_for_the_backward_pass(recipe: Recipe) -> None:
    task = ContrastiveTask(build_model(recipe))
    kept: list[int] = []

    def bytes_kept() -> int:
        kept.clear()
        with torch.autograd.graph.saved_tensors_hooks(
            lambda t: (kept.append(t.nbytes), t)[1], lambda t: t
        ):
            task.losses(task(BATCH), BATCH)
        return sum(kept)

    plain = bytes_kept()
    checkpoint_activations(task)
    assert bytes_kept() < plain / 2
