"""What each of three processes, and two of them as a group, make of their rows of a batch."""

from __future__ import annotations

import torch
from feature_pairs import random_features, random_teachers, value_and_gradients
from torch import Tensor, distributed
from torch.distributed import ProcessGroup

from zoo.training.losses.distillation import TeacherPair
from zoo.training.losses.fused import fused_loss
from zoo.training.losses.sigmoid import sigmoid_loss
from zoo.training.losses.tiles import Tiling
from zoo.training.parallel.collectives import (
    gather_rows,
    own_rows,
    sum_of_own_rows,
    total,
    total_logsumexp,
)

ROWS = 5
"""Of each process: no multiple of a tile's side."""
TILING = Tiling(side=3, kept_bytes=100)
WEIGHTS = (0.0, 0.3, 1.0)
SCALES = (9.0, 100.0)
BIAS = -4.0
SIZES = (2, 3)

Results = dict[str, list[Tensor]]


def batch(size: int) -> tuple[Tensor, Tensor, list[TeacherPair]]:
    """Return image features, text features and teachers of a group's whole batch."""
    image, text = random_features(2, size * ROWS, 6, seed=size)
    return image, text, random_teachers(size * ROWS, 2, scale=30.0)


def in_every_group() -> dict[int, Results]:
    """Return the results of this process by the size of the group, for those that it is in."""
    groups = {size: distributed.new_group(list(range(size))) for size in SIZES}
    return {
        size: _results(group, size)
        for size, group in groups.items()
        if isinstance(group, ProcessGroup)
    }


def _results(group: ProcessGroup, size: int) -> Results:
    image, text, teachers = batch(size)
    own = own_rows(ROWS, group, image.device)
    mine = [TeacherPair(one[own], other[own], scale) for one, other, scale in teachers]
    results = _collectives(image, own, group)
    for scale in SCALES:
        arguments = image[own], text[own], torch.tensor(scale).double()
        for weight in WEIGHTS:

            def reinforced(*leaves: Tensor, weight: float = weight) -> Tensor:
                pair = fused_loss(
                    *leaves, teachers=mine, distillation_weight=weight, group=group, tiling=TILING
                )
                return pair.contrastive + pair.distillation

            results[f"fused {weight} {scale}"] = value_and_gradients(reinforced, *arguments)
        results[f"sigmoid {scale}"] = value_and_gradients(
            lambda *leaves: sigmoid_loss(*leaves, group=group, tiling=TILING),
            *arguments,
            torch.tensor(BIAS).double(),
        )
    return results


def _collectives(image: Tensor, own: Tensor, group: ProcessGroup) -> Results:
    def gathered(rows: Tensor) -> Tensor:
        weight = torch.arange(len(image)).double() + group.rank()
        return (gather_rows(rows, group) * weight[:, None]).sum()

    return {
        "own_rows": [own],
        "gather_rows": [gather_rows(image[own], group)],
        "gathered": value_and_gradients(gathered, image[own]),
        "total": value_and_gradients(lambda rows: total(rows.sum(), group), image[own]),
        "total_logsumexp": [total_logsumexp(100 * image[own], group)],
        "sum_of_own_rows": [sum_of_own_rows(image * (1 + group.rank()), group)],
    }
