"""The tower arranged for a CPU gives the values of the one that is not, in every use of a model.

.venv/bin/pytest tests/models/fastvlm/test_prepare.py
"""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from realistic import make_realistic, relative_error
from torch import Tensor, nn

from zoo.models.fastvlm.prepare import PackedConv2d, prepare_for_inference
from zoo.models.fastvlm.vision_language_model import VisionLanguageModel
from zoo.models.load import load_model

SIZE = 192


@pytest.fixture(scope="module")
def plain() -> VisionLanguageModel:
    torch.manual_seed(0)
    model = load_model("fastvlm-tiny", weights=None, reparameterize=False)
    make_realistic(model.image_encoder)
    return model.reparameterize()


def prepared(model: VisionLanguageModel) -> VisionLanguageModel:
    model = copy.deepcopy(model)
    prepare_for_inference(model)
    return model


def picture(size: int = SIZE, batch: int = 1) -> Tensor:
    return torch.rand(batch, 3, size, size, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_values_are_those_of_the_plain_tower_at_any_size_and_batch(
    plain: VisionLanguageModel, mode: type
) -> None:
    fast = prepared(plain)
    with mode():
        for images in (picture(), picture(256, 2), picture(SIZE)):
            expected = plain.image_features(images)
            assert expected.std() > 1e-3
            assert relative_error(fast.image_features(images), expected) < 1e-5
    packed = [part for part in fast.image_encoder.modules() if isinstance(part, PackedConv2d)]
    assert all(part._packed is not None for part in packed)
    assert sum(part.activation == "gelu" for part in packed) > 10
    assert not any(type(part) is nn.Conv2d for part in fast.image_encoder.modules())


def test_names_and_values_of_the_weights_stay_and_a_second_call_changes_nothing(
    plain: VisionLanguageModel,
) -> None:
    fast = prepared(plain)
    prepare_for_inference(fast)
    before, after = plain.state_dict(), fast.state_dict()
    assert list(before) == list(after)
    assert all(torch.equal(before[name], after[name]) for name in before)
    with torch.no_grad():
        assert (
            relative_error(fast.image_features(picture()), plain.image_features(picture())) < 1e-5
        )


@torch.no_grad()
def test_weights_written_after_the_first_picture_are_seen(plain: VisionLanguageModel) -> None:
    fast, other = prepared(plain), copy.deepcopy(plain)
    fast.image_features(picture())
    for parameter in other.image_encoder.parameters():
        parameter.mul_(0.9)
    fast.load_state_dict(other.state_dict())
    expected = other.image_features(picture())
    assert relative_error(fast.image_features(picture()), expected) < 1e-5
    assert relative_error(plain.image_features(picture()), expected) > 1e-2


def test_a_used_tower_is_copied_cast_and_trained_like_the_plain_one(
    plain: VisionLanguageModel,
) -> None:
    fast = prepared(plain)
    with torch.no_grad():
        fast.image_features(picture())
        expected = plain.image_features(picture())
        assert relative_error(copy.deepcopy(fast).image_features(picture()), expected) < 1e-5
        double = copy.deepcopy(fast).double()
        assert relative_error(double.image_features(picture().double()), expected.double()) < 1e-5
    fast.image_features(picture()).square().mean().backward()
    gradients = [parameter.grad for parameter in fast.image_encoder.parameters()]
    assert all(gradient is not None for gradient in gradients)


@torch.no_grad()
def test_a_traced_tower_is_made_of_torchs_own_operators(plain: VisionLanguageModel) -> None:
    fast = prepared(plain)
    fast.image_features(picture())
    traced: Any = torch.jit.trace(fast.image_encoder, picture(), check_trace=False)
    assert "mkldnn" not in str(traced.inlined_graph)
    exported = torch.export.export(fast.image_encoder, (picture(),))
    assert "mkldnn" not in str(exported.graph)
