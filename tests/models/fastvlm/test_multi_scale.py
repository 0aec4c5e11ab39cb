"""With the paper's multi-scale option the projector also reads earlier stages; without, nothing
changes.

.venv/bin/pytest tests/models/fastvlm/test_multi_scale.py
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.helpers.realistic import make_realistic, relative_error
from zoo.models.card import MultiScale, VisionLanguageCard
from zoo.models.fastvlm.build import build_vision_language_model
from zoo.models.fastvlm.vision_language_model import VisionLanguageModel
from zoo.models.registry import get_card_of

TINY = get_card_of(VisionLanguageCard, "fastvlm-tiny")
EARLIER = 24 + 48 + 96 + 192


def built(kind: MultiScale | None) -> VisionLanguageModel:
    torch.manual_seed(0)
    model = build_vision_language_model(replace(TINY, multi_scale=kind)).eval()
    make_realistic(model.image_encoder)
    return model


def stage_outputs(model: VisionLanguageModel, images: Tensor) -> list[Tensor]:
    """What leaves each stage, caught on the way to the last features."""
    outputs: list[Tensor] = []
    stages: Any = model.image_encoder.get_submodule("stages")
    hooks = [stage.register_forward_hook(lambda *call: outputs.append(call[2])) for stage in stages]
    model.image_encoder.forward_features(images)  # pyright: ignore[reportCallIssue]
    for hook in hooks:
        hook.remove()
    return outputs[:-1]


@pytest.fixture(scope="module")
def images() -> Tensor:
    coarse = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    return torch.nn.functional.interpolate(coarse, size=(128, 192), mode="bilinear")


@pytest.mark.parametrize("kind", ["average", "depthwise"])
def test_features_are_the_means_of_each_cell_before_the_last_ones(
    kind: MultiScale, images: Tensor
) -> None:
    """The convolutions begin as the average."""
    model = built(kind)
    with torch.no_grad():
        features = model.image_features(images)
        single = built(None).image_features(images)
        stages = stage_outputs(model, images)
    assert features.shape == (2, 2 * 3, EARLIER + 768)
    assert features.std() > 1e-2
    means = [
        stage.unflatten(2, (2, -1)).unflatten(4, (3, -1)).mean(dim=(3, 5)) for stage in stages
    ]  # (B, C, 2·f, 3·f) -> (B, C, 2, 3)
    expected = torch.cat(means, dim=1).flatten(2).mT
    torch.testing.assert_close(features[..., :EARLIER], expected, rtol=1e-4, atol=1e-5)
    assert torch.equal(features[..., EARLIER:], single)


@pytest.mark.parametrize("kind", ["average", "depthwise"])
def test_every_stage_and_kernel_learns_through_the_projector(
    kind: MultiScale, images: Tensor
) -> None:
    model = built(kind)
    model.visual_tokens(images).square().sum().backward()
    assert model.multi_scale is not None
    for name, parameter in [
        *model.multi_scale.named_parameters(),
        *model.projector.named_parameters(),
        *model.image_encoder.named_parameters(),
    ]:
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_only_the_convolutions_add_keys_and_only_the_projector_widens() -> None:
    shapes = {
        kind: {name: value.shape for name, value in built(kind).state_dict().items()}
        for kind in (None, "average", "depthwise")
    }
    plain, average, depthwise = shapes.values()
    assert average.keys() == plain.keys()
    assert {name for name in plain if average[name] != plain[name]} == {"projector.0.weight"}
    assert average["projector.0.weight"] == (192, EARLIER + 768)
    added = {name: shape for name, shape in depthwise.items() if name not in plain}
    assert added == {
        f"multi_scale.pools.{stage}.weight": (24 * 2**stage, 1, 16 // 2**stage, 16 // 2**stage)
        for stage in range(4)
    }


def test_the_folded_model_gives_the_same_tokens(images: Tensor) -> None:
    model = built("depthwise")
    assert model.multi_scale is not None
    for parameter in model.multi_scale.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    with torch.no_grad():
        expected = model.visual_tokens(images)
        assert relative_error(model.reparameterize().visual_tokens(images), expected) < 1e-4
    assert expected.std() > 1e-2
