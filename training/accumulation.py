"""The gradient of a batch, also where the batch is too large to go through the towers at once.

A contrastive loss compares every sample with every other, so that the losses of parts do not add
up to that of the whole. What adds up is the gradient at the towers' features (Gao et al., arXiv
2101.06983): run every part without keeping activations, join the features, take the losses'
gradient there, then run every part again and send its share of that gradient through it.

It is the gradient of the whole batch, except that BatchNorm normalises each part by itself.

A task whose losses do add up says so: its parts go through the towers once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext

import torch
from torch import Tensor

from zoo.training.parallel.towers import Towers
from zoo.training.running_statistics import running_statistics_kept
from zoo.training.tasks.task import AnyTask, Batch, Features

Losses = dict[str, Tensor]


def add_gradients(
    task: AnyTask,
    towers: Towers,
    batch: Batch,
    *,
    parts: int,
    scaled: Callable[[Tensor], Tensor],
) -> Losses:
    """Add the gradient of the sum of the losses to the parameters and return the losses, detached.

    Args:
        task: what compares the features.
        towers: what makes them.
        batch: this process's samples, a multiple of `parts`.
        parts: how many the towers take one after another; 1 keeps all activations at once.
        scaled: multiplies the loss that is differentiated, against underflow in float16.
    """
    if task.adds_up:
        return _add_in_turn(task, towers, _pieces(task.with_shares(batch), parts), scaled)
    if parts == 1:
        losses = task.losses(towers(batch), batch)
        scaled(_sum(losses)).backward()
        return _detached(losses)
    pieces = _pieces(batch, parts)
    features, random_states = _features_alone(task, towers, pieces)
    joined = {name: _leaf(_join([part[name] for part in features])) for name in features[0]}
    losses = task.losses(joined, batch)
    scaled(_sum(losses)).backward()
    for index, piece in enumerate(pieces):
        is_last = index == parts - 1
        _set_random_state(random_states[index])
        with nullcontext() if is_last else towers.gradients_kept():
            _send_back(towers(piece), _share(joined, index, parts))
    return _detached(losses)


def _add_in_turn(
    task: AnyTask,
    towers: Towers,
    pieces: list[dict[str, Tensor]],
    scaled: Callable[[Tensor], Tensor],
) -> Losses:
    """Add the gradients of losses that are sums over the pieces; return the sums."""
    sums: Losses = {}
    for index, piece in enumerate(pieces):
        is_last = index == len(pieces) - 1
        with nullcontext() if is_last else towers.gradients_kept():
            losses = task.losses(towers(piece), piece)
            scaled(_sum(losses)).backward()
        sums = {name: sums.get(name, 0) + loss.detach() for name, loss in losses.items()}
    return sums


def _features_alone(
    task: AnyTask, towers: Towers, pieces: list[dict[str, Tensor]]
) -> tuple[list[Features], list[list[Tensor]]]:
    """Return the features of every piece, and the random state that each began with."""
    features, random_states = [], []
    with torch.no_grad(), running_statistics_kept(task):
        for piece in pieces:
            random_states.append(_random_state())
            features.append(towers(piece))
    return features, random_states


def _send_back(features: Features, gradients: Mapping[str, Tensor]) -> None:
    names = [name for name in gradients if features[name].requires_grad]
    torch.autograd.backward([features[name] for name in names], [gradients[name] for name in names])


def _share(joined: Features, index: int, parts: int) -> dict[str, Tensor]:
    """Return one part's rows of the gradients; a scalar's go with the last part."""
    shares = {}
    for name, feature in joined.items():
        if feature.grad is None:
            continue
        if feature.ndim > 0:
            shares[name] = feature.grad.chunk(parts)[index]
        elif index == parts - 1:
            shares[name] = feature.grad
    return shares


def _pieces(batch: Batch, parts: int) -> list[dict[str, Tensor]]:
    chunks = {name: value.chunk(parts) for name, value in batch.items()}
    return [{name: chunk[index] for name, chunk in chunks.items()} for index in range(parts)]


def _join(parts: list[Tensor]) -> Tensor:
    return torch.cat(parts) if parts[0].ndim > 0 else parts[0]


def _leaf(feature: Tensor) -> Tensor:
    return feature.requires_grad_(feature.is_floating_point())


def _sum(losses: Losses) -> Tensor:
    return torch.stack(list(losses.values())).sum()


def _detached(losses: Losses) -> Losses:
    return {name: loss.detach() for name, loss in losses.items()}


def _random_state() -> list[Tensor]:
    """What dropout draws from: the CPU's random state and, where CUDA is used, the device's."""
    cuda = [torch.cuda.get_rng_state()] if torch.cuda.is_initialized() else []
    return [torch.get_rng_state(), *cuda]


def _set_random_state(state: list[Tensor]) -> None:
    cpu, *cuda = state
    torch.set_rng_state(cpu)
    for device_state in cuda:
        torch.cuda.set_rng_state(device_state)
