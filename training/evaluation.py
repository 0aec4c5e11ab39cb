"""Evaluation in the middle of a run, and the weights at its end."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch

from zoo.models.checkpoint import save_weights
from zoo.models.trainable import TrainableModel
from zoo.training.checkpoints.tensors import HostCopies, own_tensors
from zoo.training.checkpoints.train_state import TrainState
from zoo.training.fine_tuning.lora import merged_for_saving
from zoo.training.parallel.whole_model import WholeModel

Evaluate = Callable[[Any, int], Mapping[str, float]]
"""(model in eval mode, steps done) -> named figures."""


def evaluate_now(
    state: TrainState, whole_model: WholeModel, on_evaluate: Evaluate | None
) -> Mapping[str, float]:
    """Return what `on_evaluate` says of the averaged weights, or of the weights without an average.

    Every process calls it; the main one evaluates, the others wait and return nothing.
    """
    if on_evaluate is None:
        return {}
    with _averaged(state), _for_inference(state, whole_model) as model:
        figures = on_evaluate(model, state.step) if state.world.is_main else {}
        state.world.wait()
    return figures


def write_weights(state: TrainState, whole_model: WholeModel) -> Path:
    """Write weights.safetensors, weights.ema.safetensors where there is an average, and what the
    task has beside the model.

    Every process calls it; the main one writes. Leaves the model in eval mode and returns the first
    file.
    """
    state.task.eval()
    path = state.recipe.output / "weights.safetensors"
    own = HostCopies().take(own_tensors(state), keep=state.world.is_main)
    if state.world.is_main:
        state.task.write_own(own, path.parent)
    _write(state, whole_model, path)
    if state.average:
        with _averaged(state):
            _write(state, whole_model, path.with_name("weights.ema.safetensors"))
    state.world.wait()
    return path


def _write(state: TrainState, whole_model: WholeModel, path: Path) -> None:
    model = whole_model.gather()
    if state.world.is_main:
        save_weights(merged_for_saving(model), path)


@contextmanager
def _averaged(state: TrainState) -> Iterator[None]:
    if state.average is None:
        yield
        return
    with state.average.apply_to(state.model):
        yield


@contextmanager
def _for_inference(state: TrainState, whole_model: WholeModel) -> Iterator[TrainableModel]:
    """The model in eval mode, without gradients; compilation is for the shapes of training."""
    model = whole_model.gather().eval()
    stance = torch.compiler.set_stance("force_eager") if state.recipe.compile else nullcontext()
    with torch.no_grad(), stance:
        yield model
    state.task.train()
