"""The image towers compute what timm's do, with convolutions that train fast and safely.

Run: pytest tests/models/test_image_encoder.py
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import timm
import torch
from realistic import relative_error
from torch import Tensor, nn

from zoo.models.card import ImageTextCard
from zoo.models.image_encoder import SubsampledPointwise, build_image_encoder
from zoo.models.registry import get_card_of

SMALL: dict[str, Any] = {"layers": (1, 1, 1, 1), "embed_dims": (8, 16, 32, 64)}


def seeded(build: Callable[[], nn.Module]) -> nn.Module:
    torch.manual_seed(0)
    return build().train()


def step(tower: nn.Module, pictures: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Return features and gradients of a step in which every feature counts differently."""
    features = tower(pictures)
    (features * torch.linspace(-1, 1, features.numel()).view_as(features)).sum().backward()
    gradients = [parameter.grad for parameter in tower.parameters()]
    return features.detach(), [gradient for gradient in gradients if gradient is not None]


@pytest.mark.parametrize("order", [torch.contiguous_format, torch.channels_last])
def test_a_tower_with_a_scale_branch_trains_as_timms(order: torch.memory_format) -> None:
    config = replace(get_card_of(ImageTextCard, "mobileclip-s0").image, overrides=SMALL)
    ours = seeded(lambda: build_image_encoder(config, 16))
    theirs = seeded(lambda: timm.create_model("fastvit_mci0", num_classes=16, **SMALL))
    assert ours.state_dict().keys() == theirs.state_dict().keys()
    ours.to(memory_format=order)  # pyright: ignore[reportCallIssue]
    pictures = torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    (features, gradients), (expected, right) = step(ours, pictures), step(theirs, pictures)
    assert relative_error(features, expected) < 1e-5
    assert len(gradients) == len(right)
    largest = max(gradient.abs().max() for gradient in right)
    for gradient, wanted in zip(gradients, right, strict=True):
        assert (gradient - wanted).abs().max() < 1e-4 * largest


def test_no_strided_pointwise_convolution_is_left_where_memory_would_be_corrupted() -> None:
    with torch.device("meta"):
        tower = build_image_encoder(get_card_of(ImageTextCard, "mobileclip-s2").image, 16)
    convolutions = [part for part in tower.modules() if isinstance(part, nn.Conv2d)]
    assert not [c for c in convolutions if c.kernel_size == (1, 1) and c.stride != (1, 1)]
    assert sum(isinstance(c, SubsampledPointwise) for c in convolutions) == 2


@pytest.mark.parametrize("size", [7, 8])
def test_subsampling_equals_the_stride_on_even_and_odd_sizes(size: int) -> None:
    strided = nn.Conv2d(3, 4, 1, stride=2, bias=False)
    pictures = torch.rand(2, 3, size, size)
    assert torch.allclose(SubsampledPointwise(strided)(pictures), strided(pictures), atol=1e-6)
