"""SigLIP's loss equals its formula, tile by tile as well as plain.

Run: pytest tests/training/losses/test_sigmoid.py
"""

from __future__ import annotations

import math

import pytest
import torch
from feature_pairs import random_features, value_and_gradients
from torch import Tensor

from zoo.training.losses.sigmoid import plain_sigmoid_loss, sigmoid_loss
from zoo.training.losses.tiles import Tiling


def point(batch: int, scale: float, bias: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    image, text = random_features(2, batch, 6, seed=batch)
    return image, text, torch.tensor(scale).double(), torch.tensor(bias).double()


def test_the_plain_loss_is_the_sum_over_all_pairs() -> None:
    image, text, scale, bias = point(5, 10.0, -3.0)
    total = 0.0
    for i in range(5):
        for j in range(5):
            logit = 10.0 * float(image[i] @ text[j]) - 3.0
            total += math.log1p(math.exp(-logit if i == j else logit))
    loss = plain_sigmoid_loss(image, text, scale, bias)
    assert loss.item() == pytest.approx(total / 5, rel=1e-12)


@pytest.mark.parametrize(("scale", "bias"), [(10.0, -10.0), (100.0, 5.0)])
@pytest.mark.parametrize(("batch", "side"), [(1, 4), (8, 8), (13, 5), (13, 1)])
def test_tiles_of_any_size_give_the_same_value_and_gradients(
    batch: int, side: int, scale: float, bias: float
) -> None:
    arguments = point(batch, scale, bias)
    expected = value_and_gradients(plain_sigmoid_loss, *arguments)
    computed = value_and_gradients(
        lambda *leaves: sigmoid_loss(*leaves, tiling=Tiling(side=side)), *arguments
    )
    for value, reference in zip(computed, expected, strict=True):
        torch.testing.assert_close(value, reference, rtol=1e-10, atol=1e-10)


def test_features_that_do_not_match_are_refused() -> None:
    image, text, scale, bias = point(4, 10.0, -10.0)
    with pytest.raises(ValueError, match=r"\(4, 6\) and \(3, 6\)"):
        sigmoid_loss(image, text[:3], scale, bias)
