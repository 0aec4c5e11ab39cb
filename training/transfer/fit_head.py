"""A head fitted on frozen features: a convex problem, solved instead of trained."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from zoo.training.transfer.head import LinearHead, standardized
from zoo.training.transfer.labelled import Labelled

PENALTIES = tuple(10.0**exponent for exponent in range(1, -5, -1))
"""Candidates for the weight of the squared norm, of features of root mean square 1."""
_FOLDS = 5
_TOLERANCE = 1e-6  # largest gradient at which LBFGS stops
_ITERATIONS = 500


def fit_head(labelled: Labelled) -> LinearHead:
    """Return the multinomial logistic regression of the labels on the features.

    Minimises mean cross-entropy + ½ · penalty · ‖W‖² (the bias is free) in float64. The penalty is
    the one of `PENALTIES` with the lowest cross-entropy over five folds, not the highest accuracy,
    since the probabilities are what a student will learn from. Nothing is random.

    Raises ValueError unless every class 0 … C-1 has two pictures or more.
    """
    labels = labelled.labels
    check_labels(labels)
    inputs = standardized(labelled.features.double())
    penalty = _best_penalty(inputs, labels)
    weight, bias = _solve(inputs, labels, penalty)
    head = LinearHead(inputs.shape[1], len(bias), of=labelled.of, pretrained=labelled.pretrained)
    head.load_state_dict({"weight": weight.float(), "bias": bias.float()})
    return head


def check_labels(labels: Tensor) -> None:
    """Raise ValueError unless labels int64 (N,) are 0 … C-1, two classes or more, each twice."""
    if int(labels.min()) < 0 or int(labels.max()) < 1:
        raise ValueError(
            f"The labels are from {int(labels.min())} to {int(labels.max())}; expected classes "
            "counted from 0, and two of them at least."
        )
    counts = torch.bincount(labels)
    rarest = int(counts.argmin())
    if counts[rarest] < 2:
        raise ValueError(
            f"Class {rarest} has {int(counts[rarest])} labelled pictures; give at least 2 of every "
            f"class 0…{len(counts) - 1}, one to learn from and one to check on."
        )


def _best_penalty(inputs: Tensor, labels: Tensor) -> float:
    fold = _folds(labels)
    losses = {penalty: 0.0 for penalty in PENALTIES}
    for number in fold.unique().tolist():
        kept, held = fold != number, fold == number
        start = None
        for penalty in PENALTIES:  # from one minimum it is not far to the next
            start = _solve(inputs[kept], labels[kept], penalty, start)
            logits = F.linear(inputs[held], *start)
            losses[penalty] += F.cross_entropy(logits, labels[held], reduction="sum").item()
    return min(losses, key=lambda penalty: losses[penalty])


def _folds(labels: Tensor) -> Tensor:
    """Number the pictures of every class 0, 1, …, 4, 0, …: int64 (N,). No fold lacks a class that
    has enough pictures, and every class is among those learned from."""
    one_hot = F.one_hot(labels)
    place = one_hot.cumsum(dim=0).gather(1, labels[:, None])[:, 0] - 1
    return place % _FOLDS


def _solve(
    inputs: Tensor, labels: Tensor, penalty: float, start: tuple[Tensor, Tensor] | None = None
) -> tuple[Tensor, Tensor]:
    """Return weight (C, D) and bias (C,) at the minimum."""
    classes, features = int(labels.max()) + 1, inputs.shape[1]
    begin = start or (inputs.new_zeros(classes, features), inputs.new_zeros(classes))
    weight, bias = (tensor.clone().requires_grad_() for tensor in begin)
    optimizer = torch.optim.LBFGS(
        [weight, bias],
        max_iter=_ITERATIONS,
        tolerance_grad=_TOLERANCE,
        tolerance_change=0,
        line_search_fn="strong_wolfe",
    )

    def objective() -> Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(F.linear(inputs, weight, bias), labels)
        loss = loss + penalty / 2 * weight.square().sum()
        loss.backward()
        return loss

    optimizer.step(objective)  # pyright: ignore[reportArgumentType]
    return weight.detach(), bias.detach()
