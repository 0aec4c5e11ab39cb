"""A task's forward as it is run: in its number format, compiled, by several processes."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, distributed, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.nn.parallel import DistributedDataParallel

from zoo.training.activation_checkpointing import checkpoint_activations
from zoo.training.parallel.blocks import blocks_of
from zoo.training.parallel.synchronized_batch_norm import synchronize_batch_norm
from zoo.training.parallel.world import World
from zoo.training.precision import towers_autocast
from zoo.training.recipes.choices import Precision
from zoo.training.recipes.recipe import Recipe
from zoo.training.tasks.task import AnyTask, Batch, Features


class Towers:
    """Call it on a batch, or a part of one, for the features, which are float32.

    It prepares the task as the recipe asks: activation checkpointing, synchronised BatchNorm,
    compilation, DDP or FSDP2. The task's classes and state-dict keys stay as they are; with FSDP2
    its parameters become DTensors, except those of no dimension, which FSDP2 does not take.
    """

    def __init__(self, task: AnyTask, recipe: Recipe, world: World) -> None:
        """Prepare `task` in place.

        Raises ValueError when nothing in it is trainable, and for fields that exclude each other.
        """
        _check_combination(recipe, world)
        if not any(parameter.requires_grad for parameter in task.parameters()):
            raise ValueError("No parameter of the model is trainable; let some of them be.")
        self._precision: Precision = recipe.precision
        self._world = world
        if recipe.activation_checkpointing:
            checkpoint_activations(task)
        if recipe.synchronize_batch_norm and world.size > 1:
            synchronize_batch_norm(task)
        if recipe.compile:
            for part in task.compiled_parts():
                part.compile()
        self.whole = [p for p in task.parameters() if p.ndim == 0]
        """Parameters that every process holds whole where the others are divided."""
        self._module = _wrapped(task, recipe, world, set(self.whole))

    def __call__(self, batch: Batch) -> Features:
        with towers_autocast(self._precision, self._world.device):
            features: Features = self._module(batch)
        return {name: _at_least_float32(value) for name, value in features.items()}

    @contextmanager
    def gradients_kept(self) -> Iterator[None]:
        """Let backward passes add gradients up in this process, for a later one to exchange."""
        if isinstance(self._module, DistributedDataParallel):
            with self._module.no_sync():
                yield
        elif isinstance(self._module, FSDPModule):
            self._module.set_requires_gradient_sync(False)
            yield
            self._module.set_requires_gradient_sync(True)
        else:
            yield

    def average_whole_gradients(self) -> None:
        """Take the mean over processes of the gradients that FSDP2 leaves out."""
        if isinstance(self._module, FSDPModule):
            for gradient in (p.grad for p in self.whole if p.grad is not None):
                distributed.all_reduce(gradient, group=self._world.group)
                gradient /= self._world.size


def _at_least_float32(value: Tensor) -> Tensor:
    if not value.is_floating_point():
        return value
    return value.to(torch.promote_types(value.dtype, torch.float32))


def _check_combination(recipe: Recipe, world: World) -> None:
    if world.size == 1:
        return
    if recipe.parallel == "fsdp" and recipe.precision == "float16":
        raise ValueError(
            "precision=float16 cannot be used with parallel=fsdp: torch scales no gradient that is "
            "divided in part only; take bfloat16, or ddp."
        )
    if recipe.compile and recipe.synchronize_batch_norm:
        raise ValueError(
            "compile cannot be used with synchronize_batch_norm: a graph ends at every exchange "
            "between processes; choose one of them."
        )


def _wrapped(task: AnyTask, recipe: Recipe, world: World, whole: set[nn.Parameter]) -> nn.Module:
    if world.size == 1:
        return task
    return _divided(task, world, whole) if recipe.parallel == "fsdp" else _copied(task, world)


def _divided(task: AnyTask, world: World, whole: set[nn.Parameter]) -> nn.Module:
    # Blocks end in transposed views, and nothing changes those in place.
    warnings.filterwarnings("ignore", message="FSDP2-wrapped module .* returned a view tensor")
    _make_contiguous(task.model.image_encoder)
    mesh = init_device_mesh(world.device.type, (world.size,))
    for block in blocks_of(task):
        fully_shard(block, mesh=mesh, ignored_params=whole)
    fully_shard(task, mesh=mesh, ignored_params=whole)
    return task


def _make_contiguous(image_encoder: nn.Module) -> None:
    """FSDP2 divides contiguous weights only: let the pictures bring the order channels_last."""
    if all(parameter.is_contiguous() for parameter in image_encoder.parameters()):
        return
    image_encoder.to(memory_format=torch.contiguous_format)  # pyright: ignore[reportCallIssue]
    first = next(image_encoder.children())  # a tower is not always called as a whole
    first.register_forward_pre_hook(_in_channels_last)


def _in_channels_last(_: nn.Module, inputs: tuple[Tensor, ...]) -> Tensor:
    return inputs[0].contiguous(memory_format=torch.channels_last)


def _copied(task: AnyTask, world: World) -> nn.Module:
    # It tells of strides along axes of size 1, which is no difference.
    warnings.filterwarnings("ignore", message="Grad strides do not match bucket view strides")
    with warnings.catch_warnings():
        # torch 2.15 has another name for broadcast_buffers, which older ones do not know.
        warnings.simplefilter("ignore", FutureWarning)
        # Buffers are BatchNorm's statistics: equal where synchronised, else this process's own.
        return DistributedDataParallel(
            task, process_group=world.group, broadcast_buffers=False, gradient_as_bucket_view=True
        )
