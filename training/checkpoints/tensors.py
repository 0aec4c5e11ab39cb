"""The tensors of a run's state: gathered whole for a checkpoint, put back as they were divided."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor, distribute_tensor

from zoo.training.checkpoints.train_state import TrainState

Tensors = dict[str, Tensor]

MODEL = "model.safetensors"
TASK = "task.safetensors"
OPTIMIZER = "optimizer.safetensors"
AVERAGE = "average.safetensors"

_MODEL_PREFIX = "model."
"""How the task names what belongs to the model."""


def state_tensors(state: TrainState) -> dict[str, Tensors]:
    """Return the live tensors of a run by the file of a checkpoint that holds them.

    They go on changing as training does, and under FSDP each process has its part (DTensor).
    """
    files = {
        MODEL: state.model.state_dict(),
        TASK: own_tensors(state),
        OPTIMIZER: _optimizer_tensors(state),
        AVERAGE: {} if state.average is None else state.average.state_dict(),
    }
    return {name: tensors for name, tensors in files.items() if tensors}


class HostCopies:
    """Copies of tensors in the host's memory, which the next copies use again.

    Memory that was used before takes copies several times faster than fresh memory, whose pages
    the system has to clear first; on CUDA it is pinned.
    """

    def __init__(self) -> None:
        self._memory: Tensors = {}

    def take(self, tensors: Mapping[str, Tensor], *, keep: bool) -> Tensors:
        """Return copies of whole tensors; none where `keep` is false.

        Every process calls it, since each contributes its part of what FSDP has divided. The
        copies hold until the next call with the same names.
        """
        for name, tensor in tensors.items():
            whole = tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
            if keep:
                self._place(name, whole.detach()).copy_(whole.detach(), non_blocking=True)
        if torch.cuda.is_initialized():
            torch.cuda.current_stream().synchronize()
        return {name: self._memory[name] for name in tensors} if keep else {}

    def _place(self, name: str, tensor: Tensor) -> Tensor:
        """The memory for one tensor, new at its first copy."""
        place = self._memory.get(name)
        if place is None:
            place = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=tensor.is_cuda)
            self._memory[name] = place
        return place


def restore_tensors(state: TrainState, files: Mapping[str, Tensors], folder: Path) -> None:
    """Put whole tensors, read from the files of `folder`, back to where `state_tensors` finds them.

    Raises ValueError for tensors of another model, task or average of weights.
    """
    put_back: dict[str, Callable[[Tensors], Any]] = {
        MODEL: state.model.load_state_dict,
        TASK: partial(state.task.load_state_dict, strict=False),
    }
    if state.average is not None:
        put_back[AVERAGE] = state.average.load_state_dict
    live = state_tensors(state)
    for name in put_back.keys() & live.keys():
        _check_same_tensors(state, live[name], files.get(name, {}), folder / name)
    for name in put_back.keys() & live.keys():
        put_back[name]({key: _divided(files[name][key], like) for key, like in live[name].items()})
    _restore_optimizer(state, files[OPTIMIZER], folder / OPTIMIZER)


def own_tensors(state: TrainState) -> Tensors:
    """Return the live tensors of the task that are not the model's."""
    tensors = state.task.state_dict()
    return {key: value for key, value in tensors.items() if not key.startswith(_MODEL_PREFIX)}


def _optimizer_tensors(state: TrainState) -> Tensors:
    return {
        f"{name}.{key}": value
        for name, parameter in state.task.named_parameters()
        for key, value in state.optimizer.state.get(parameter, {}).items()
    }


def _check_same_tensors(
    state: TrainState, live: Mapping[str, Tensor], found: Mapping[str, Tensor], path: Path
) -> None:
    shapes = {key: value.shape for key, value in live.items()}
    found_shapes = {key: value.shape for key, value in found.items()}
    names = sorted(shapes | found_shapes)
    differing = [name for name in names if shapes.get(name) != found_shapes.get(name)]
    if differing:
        raise ValueError(
            f"'{path}' holds another model than {state.model.card.name} in the "
            f"{state.recipe.task} task: {len(differing)} tensors are missing, unexpected or of "
            f"another shape, such as {differing[0]}; resume with the recipe that wrote it."
        )


def _restore_optimizer(state: TrainState, tensors: Tensors, path: Path) -> None:
    parameters = dict(state.task.named_parameters())
    moments: dict[Tensor, Tensors] = {}
    for full_name, value in tensors.items():
        name, _, key = full_name.rpartition(".")
        if name not in parameters:
            raise ValueError(
                f"'{path}' has moments of '{name}', which {state.model.card.name} does not have; "
                "resume with the recipe that wrote it."
            )
        parameter = parameters[name]
        is_step_count = value.shape != parameter.shape
        moments.setdefault(parameter, {})[key] = (
            value if is_step_count else _divided(value, parameter)
        )
    ordered = [p for group in state.optimizer.param_groups for p in group["params"]]
    saved = state.optimizer.state_dict()
    saved["state"] = {i: moments[p] for i, p in enumerate(ordered) if p in moments}
    state.optimizer.load_state_dict(saved)


def _divided(whole: Tensor, like: Tensor) -> Tensor:
    """This process's part of a tensor that all of them have whole, divided as `like` is."""
    if not isinstance(like, DTensor):
        return whole
    return distribute_tensor(
        whole.to(like.device), like.device_mesh, like.placements, src_data_rank=None
    )
