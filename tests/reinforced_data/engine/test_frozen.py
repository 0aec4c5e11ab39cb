"""A frozen model cannot be trained: not it, not its parts, not its copies.

.venv/bin/pytest tests/reinforced_data/engine/test_frozen.py
"""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_open_clip import save_open_clip
from tiny_transformers import save_captioner
from torch import nn

from zoo.models.checkpoint import save_weights
from zoo.models.load import load_model
from zoo.reinforced_data.engine.captioners.load import load_captioner
from zoo.reinforced_data.engine.frozen import frozen
from zoo.reinforced_data.engine.teachers import load_teacher


def network() -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 4), nn.Sequential(nn.BatchNorm1d(4), nn.Dropout(0.5)))


def torch_copy(model: nn.Module) -> nn.Module:
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


def zoo_teacher_model(folder: Path) -> nn.Module:
    save_weights(load_model("mobileclip-tiny", weights=None), folder / "tiny.safetensors")
    return load_teacher(f"zoo:mobileclip-tiny@{folder / 'tiny.safetensors'}")


def open_clip_teacher_model(folder: Path) -> nn.Module:
    return load_teacher(f"open_clip:{save_open_clip(folder / 'vit', 'vit')}")


def coca_model(folder: Path) -> nn.Module:
    return captioner_model(f"open_clip:{save_open_clip(folder / 'coca', 'coca')}")


def transformers_model(folder: Path) -> nn.Module:
    return captioner_model(save_captioner(folder / "blip", "blip"))


def captioner_model(spec: str) -> nn.Module:
    captioner: Any = load_captioner(spec, teachers=[], candidates=list, seed=0)
    return captioner._model


def ask_to_train(model: nn.Module) -> None:
    nn.ModuleList([model]).train()
    for part in model.modules():
        part.train()


def is_frozen(model: nn.Module) -> bool:
    return not any(part.training for part in model.modules()) and not any(
        parameter.requires_grad for parameter in model.parameters()
    )


@pytest.mark.parametrize(
    "load", [zoo_teacher_model, open_clip_teacher_model, coca_model, transformers_model]
)
def test_nothing_that_reinforces_data_can_be_trained(
    load: Callable[[Path], nn.Module], tmp_path: Path
) -> None:
    model = load(tmp_path)
    ask_to_train(model)
    assert is_frozen(model)


@pytest.mark.parametrize(
    "duplicate", [copy.deepcopy, torch_copy, lambda m: pickle.loads(pickle.dumps(m))]
)
def test_a_copy_is_frozen_too_and_its_own(duplicate: Callable[[nn.Module], nn.Module]) -> None:
    model = frozen(network())
    made = duplicate(model)
    ask_to_train(made)
    assert is_frozen(made)
    assert made.train() is made and made.eval() is made
    assert made(torch.zeros(2, 4)).equal(model(torch.zeros(2, 4)))


def test_a_model_of_the_same_class_still_trains() -> None:
    frozen(network())
    other = network().eval()
    ask_to_train(other)
    assert all(part.training for part in other.modules())
