"""The model arranged for a CPU gives the values of the one that is not, in every use of it.

.venv/bin/pytest tests/models/fastvlm/test_prepare.py
"""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from realistic import make_realistic, relative_error
from torch import Tensor, nn

from zoo.models.devices import cpu_multiplies_bfloat16, fastest_dtype
from zoo.models.fastvlm import prepare
from zoo.models.fastvlm.packed import PackedConv2d, PackedLinear
from zoo.models.fastvlm.prepare import prepare_for_inference
from zoo.models.fastvlm.vision_language_model import VisionLanguageModel
from zoo.models.load import load_model

SIZE = 192


@pytest.fixture(scope="module")
def plain() -> VisionLanguageModel:
    torch.manual_seed(0)
    model = load_model("fastvlm-tiny", weights=None, reparameterize=False, dtype=torch.float32)
    make_realistic(model.image_encoder)
    return model.reparameterize()


def prepared(model: VisionLanguageModel) -> VisionLanguageModel:
    model = copy.deepcopy(model)
    prepare_for_inference(model)
    return model


def ids(batch: int, tokens: int) -> Tensor:
    return torch.randint(0, 500, (batch, tokens), generator=torch.Generator().manual_seed(2))


def packed_linears(part: nn.Module) -> list[PackedLinear]:
    return [module for module in part.modules() if isinstance(module, PackedLinear)]


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
    assert all(part._packed._tensor is not None for part in packed)
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


@pytest.mark.parametrize(
    "layout", [torch.contiguous_format, torch.channels_last], ids=["planes", "channels last"]
)
@pytest.mark.parametrize(("stride", "copies"), [(1, 1), (2, 2), (2, 3)])
def test_channels_that_become_several_are_those_of_torch(
    stride: int, copies: int, layout: torch.memory_format
) -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(6, 6 * copies, 7, stride=stride, padding=3, groups=6).eval()
    pictures = torch.randn(2, 6, 17, 23).contiguous(memory_format=layout)
    packed = PackedConv2d(conv)
    with torch.no_grad():
        assert relative_error(packed(pictures), conv(pictures)) < 1e-6
        conv.weight.mul_(2)
        assert relative_error(packed(pictures), conv(pictures)) < 1e-6


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


@torch.no_grad()
def test_logits_are_those_of_the_plain_model_for_any_number_of_tokens(
    plain: VisionLanguageModel,
) -> None:
    fast = prepared(plain)
    for read in (ids(1, 54), ids(3, 7), ids(1, 1)):
        assert relative_error(fast(read), plain(read)) < 1e-5
    layers = packed_linears(fast.language_model)
    assert len(layers) == 7 * fast.card.language.numbers["num_hidden_layers"]
    assert all(layer._packed._tensor is not None for layer in layers)
    assert type(fast.language_model.get_output_embeddings()) is nn.Linear
    visual = fast.visual_tokens(picture())
    assert relative_error(visual, plain.visual_tokens(picture())) < 1e-5
    assert len(packed_linears(fast.projector)) == 2


@torch.no_grad()
def test_weights_of_the_language_model_written_later_are_seen(plain: VisionLanguageModel) -> None:
    fast, other = prepared(plain), copy.deepcopy(plain)
    before = fast(ids(1, 9))
    for parameter in other.language_model.parameters():
        parameter.mul_(0.5)
    fast.load_state_dict(other.state_dict())
    after = fast(ids(1, 9))
    assert relative_error(after, other(ids(1, 9))) < 1e-5
    assert relative_error(after, before) > 1e-2


def test_a_used_language_model_is_trained_and_cast_like_the_plain_one(
    plain: VisionLanguageModel,
) -> None:
    fast = prepared(plain)
    with torch.no_grad():
        fast(ids(1, 9))
        double, expected = copy.deepcopy(fast).double(), copy.deepcopy(plain).double()
        assert torch.equal(double(ids(1, 9)), expected(ids(1, 9)))
    fast(ids(1, 9)).square().mean().backward()
    assert all(layer.weight.grad is not None for layer in packed_linears(fast.language_model))


@pytest.mark.skipif(not cpu_multiplies_bfloat16(), reason="this CPU has no units for bfloat16")
@torch.no_grad()
def test_bfloat16_is_packed_where_the_cpu_multiplies_it(plain: VisionLanguageModel) -> None:
    fast, images = prepared(plain).bfloat16(), picture().bfloat16()
    features = fast.image_features(images).float()
    assert relative_error(features, plain.image_features(picture())) < 5e-2
    other = copy.deepcopy(plain).bfloat16()
    assert relative_error(fast(ids(1, 54)).float(), other(ids(1, 54)).float()) < 2e-2
    for part in (fast.image_encoder, fast.language_model.base_model):
        layers = [one for one in part.modules() if isinstance(one, (PackedConv2d, PackedLinear))]
        assert all(layer._packed._tensor is not None for layer in layers)


@torch.no_grad()
def test_bfloat16_without_units_for_it_is_left_to_torch(
    plain: VisionLanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zoo.models.fastvlm.packed.cpu_multiplies_bfloat16", lambda: False)
    fast, other = prepared(plain).bfloat16(), copy.deepcopy(plain).bfloat16()
    images = picture().bfloat16()
    assert torch.equal(fast(ids(1, 5)), other(ids(1, 5)))
    assert torch.equal(fast.image_features(images), other.image_features(images))


@pytest.mark.parametrize(("has_units", "dtype"), [(True, torch.bfloat16), (False, torch.float32)])
def test_the_number_format_is_what_the_cpu_computes_fastest(
    monkeypatch: pytest.MonkeyPatch, has_units: bool, dtype: torch.dtype
) -> None:
    monkeypatch.setattr("zoo.models.fastvlm.load.fastest_dtype", fastest_dtype)
    monkeypatch.setattr("torch.cpu._is_amx_tile_supported", lambda: False)
    monkeypatch.setattr("torch.cpu._is_avx512_bf16_supported", lambda: has_units)
    model = load_model("fastvlm-tiny", weights=None, device="cpu")
    assert {parameter.dtype for parameter in model.parameters()} == {dtype}
    model = load_model("fastvlm-tiny", weights=None, device="cpu", dtype=torch.int8)
    assert {parameter.dtype for parameter in model.image_encoder.parameters()} == {dtype}
    assert model.language_model.get_input_embeddings().weight.dtype == torch.float32


def test_a_language_model_too_large_for_the_free_memory_is_held_once(
    plain: VisionLanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    needed = sum(layer.weight.nbytes for layer in packed_linears(prepared(plain).language_model))
    monkeypatch.setattr(prepare, "free_bytes", lambda device: 4 * needed)
    assert packed_linears(prepared(plain).language_model)
    monkeypatch.setattr(prepare, "free_bytes", lambda device: 4 * needed - 1)
    fast = prepared(plain)
    assert not packed_linears(fast.language_model)
    assert packed_linears(fast.projector)
