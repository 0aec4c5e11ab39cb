"""Weight decay spares what it should, and the learning rate follows warm-up and cosine.

Run: pytest tests/training/optimization/test_optimizer.py
"""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from toy_batches import toy_recipe

from zoo.models.load import load_model
from zoo.training.optimization.optimizer import build_optimizer, parameter_groups
from zoo.training.optimization.schedule import learning_rate_at, set_learning_rate


def test_only_matrices_and_kernels_decay() -> None:
    model = load_model("mobileclip-tiny", weights=None, reparameterize=False)
    decayed, kept = ({id(p) for p in group["params"]} for group in parameter_groups(model, 0.2))
    names = {
        name: "decayed" if id(parameter) in decayed else "kept"
        for name, parameter in model.named_parameters()
    }
    assert len(decayed) + len(kept) == len(names) and not decayed & kept
    for name, group in names.items():
        if name.endswith(("bias", "gamma", "logit_scale", "positional_embedding", "bn.weight")):
            assert group == "kept", name
    assert names["text_encoder.norm.weight"] == "kept"
    assert names["text_encoder.token_embedding.weight"] == "decayed"
    assert names["text_encoder.projection"] == "decayed"
    assert names["image_encoder.head.fc.weight"] == "decayed"
    assert names["image_encoder.stem.0.conv_kxk.0.conv.weight"] == "decayed"


def test_decay_is_applied_to_its_group_alone_and_frozen_parameters_are_left_out(
    tmp_path: Path,
) -> None:
    model = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.Linear(3, 3))
    model[1].requires_grad_(False)
    recipe = toy_recipe(tmp_path, learning_rate=0.1, weight_decay=0.5)
    optimizer = build_optimizer(model, recipe)
    before = [parameter.clone() for parameter in model.parameters()]
    for parameter in model[0].parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    weight, *others = [p / b for p, b in zip(model.parameters(), before, strict=True)]
    assert torch.allclose(weight, torch.tensor(0.95))  # 1 - rate · decay
    assert all(torch.equal(ratio, torch.ones_like(ratio)) for ratio in others)


def test_every_group_moves_at_its_own_share_of_the_rate(tmp_path: Path) -> None:
    model = torch.nn.Linear(3, 3)
    optimizer = build_optimizer(model, toy_recipe(tmp_path, weight_decay=0), {"bias": 0.25})
    set_learning_rate(optimizer, 0.1)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    moved = {name: (before[name] - p.detach()).mean() for name, p in model.named_parameters()}
    assert moved["weight"] == pytest.approx(0.1, rel=1e-4)
    assert moved["bias"] == pytest.approx(0.025, rel=1e-4)


def test_moments_are_loaded_in_the_order_of_their_weights(tmp_path: Path) -> None:
    """Files hold them contiguous; the fused kernel would pair them with other weights."""

    def stepped(*, reload: bool) -> torch.Tensor:
        torch.manual_seed(0)
        model = torch.nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)
        optimizer = build_optimizer(model, toy_recipe(tmp_path))
        for _ in range(3):
            model.zero_grad()
            model(torch.randn(2, 3, 5, 5)).square().sum().backward()
            optimizer.step()
            if reload:
                saved = optimizer.state_dict()
                for moments in saved["state"].values():
                    moments |= {key: value.contiguous() for key, value in moments.items()}
                optimizer.load_state_dict(saved)
        return model.weight.detach()

    assert torch.equal(stepped(reload=True), stepped(reload=False))


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (0, 0.25),  # the first of four warm-up steps
        (3, 1.0),  # the last
        (4, 1.0),  # the top of the cosine
        (8, 0.5 * (1 + math.cos(math.pi / 3))),
        (10, 0.5),
        (15, 0.5 * (1 + math.cos(math.pi * 11 / 12))),  # the last update still moves
    ],
)
def test_schedule_values(step: int, expected: float) -> None:
    rate = learning_rate_at(step, steps=16, warmup_steps=4, peak=3.0)
    assert rate == pytest.approx(3.0 * expected, rel=1e-12)


def test_the_cosine_ends_at_the_lowest_rate() -> None:
    rates = [
        learning_rate_at(step, steps=1000, warmup_steps=0, peak=1.0, lowest=0.2)
        for step in range(1000)
    ]
    assert rates[0] == 1.0 and rates == sorted(rates, reverse=True)
    assert 0.2 < rates[-1] < 0.2001


def test_a_schedule_without_warm_up_starts_at_the_peak() -> None:
    assert learning_rate_at(0, steps=10, warmup_steps=0, peak=2.0) == 2.0
