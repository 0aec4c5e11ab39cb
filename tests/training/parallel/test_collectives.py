"""Two and three real processes agree with one, in what they exchange and in the losses made of it.

Run: pytest tests/training/parallel/test_collectives.py
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch
from feature_pairs import value_and_gradients
from gloo_processes import run_together
from sharded_losses import BIAS, ROWS, SCALES, SIZES, WEIGHTS, Results, batch, in_every_group
from torch import Tensor

from zoo.training.losses.fused import fused_loss
from zoo.training.losses.sigmoid import plain_sigmoid_loss
from zoo.training.parallel.collectives import (
    gather_rows,
    own_rows,
    sum_of_own_rows,
    total,
    total_logsumexp,
)


@pytest.fixture(scope="module")
def by_process(tmp_path_factory: pytest.TempPathFactory) -> list[dict[int, Results]]:
    """What three processes found; the first two are also a group of their own."""
    folder = tmp_path_factory.mktemp("processes")
    return run_together(f"{in_every_group.__module__}:in_every_group", max(SIZES), folder)


def close(computed: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(computed, expected, rtol=1e-10, atol=1e-10)


def found(processes: list[dict[int, Results]], size: int, key: str) -> list[list[Tensor]]:
    return [process[size][key] for process in processes[:size]]


@pytest.mark.parametrize("size", SIZES)
def test_processes_exchange_rows_and_sums(by_process: list[dict[int, Results]], size: int) -> None:
    image, _, _ = batch(size)
    parts = image.split(ROWS)
    ranks = torch.arange(size).double()
    for rank in range(size):
        of = {key: values for key, values in by_process[rank][size].items()}
        assert of["own_rows"][0].tolist() == list(range(rank * ROWS, (rank + 1) * ROWS))
        close(of["gather_rows"][0], image)
        weight = size * torch.arange(len(image)).double() + ranks.sum()
        close(of["gathered"][1], weight[of["own_rows"][0], None].expand(ROWS, 6))
        close(of["total"][0], image.sum())
        close(of["total"][1], torch.full_like(parts[rank], size))
        logsumexp = torch.stack([100 * part for part in parts]).logsumexp(dim=0)
        close(of["total_logsumexp"][0], logsumexp)
        close(of["sum_of_own_rows"][0], parts[rank] * (1 + ranks).sum())


def test_a_process_alone_needs_no_group() -> None:
    rows = torch.rand(3, 2)
    for function in (gather_rows, total, total_logsumexp, sum_of_own_rows):
        assert function(rows, None) is rows
    assert own_rows(3, None, rows.device).tolist() == [0, 1, 2]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("weight", WEIGHTS)
def test_the_sharded_fused_loss_is_that_of_the_whole_batch(
    by_process: list[dict[int, Results]], weight: float, scale: float, size: int
) -> None:
    image, text, teachers = batch(size)

    def whole(*leaves: Tensor) -> Tensor:
        pair = fused_loss(*leaves, teachers=teachers, distillation_weight=weight)
        return pair.contrastive + pair.distillation

    arguments = image, text, torch.tensor(scale).double()
    assert_shards(found(by_process, size, f"fused {weight} {scale}"), whole, arguments)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("scale", SCALES)
def test_the_sharded_sigmoid_loss_is_that_of_the_whole_batch(
    by_process: list[dict[int, Results]], scale: float, size: int
) -> None:
    image, text, _ = batch(size)
    arguments = image, text, torch.tensor(scale).double(), torch.tensor(BIAS).double()
    assert_shards(found(by_process, size, f"sigmoid {scale}"), plain_sigmoid_loss, arguments)


def assert_shards(
    processes: Sequence[list[Tensor]], loss: Callable[..., Tensor], arguments: Sequence[Tensor]
) -> None:
    """The same value everywhere; gradients whose mean over processes is that of the whole batch."""
    value, image, text, *numbers = value_and_gradients(loss, *arguments)
    size = len(processes)
    for rank, (own_value, own_image, own_text, *own_numbers) in enumerate(processes):
        close(own_value, value)
        close(own_image, size * image.split(ROWS)[rank])
        close(own_text, size * text.split(ROWS)[rank])
        for own_number, number in zip(own_numbers, numbers, strict=True):
            close(own_number, number)
