"""Fine-tuning trains what it names and nothing else, and lower layers slower.

Run: pytest tests/training/fine_tuning/test_prepare.py
"""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from toy_batches import ALONE, ToyLoader, toy_recipe

from zoo.models.card import ImageTextCard
from zoo.models.image_text_model import ImageTextModel
from zoo.models.load import load_model
from zoo.models.mobileclip.build import build_model as build_from_card
from zoo.models.mobileclip.cards import CARDS
from zoo.training.fine_tuning.layers import distances_from_top, tower_of
from zoo.training.fine_tuning.prepare import learning_rate_scales, prepare_fine_tuning
from zoo.training.fine_tuning.settings import FineTuning
from zoo.training.loop import train
from zoo.training.run import build_model

BLOCKS = {
    "mobileclip-s0": (2 + 6 + 10 + 2, 6),
    "mobileclip-b": (12, 12),
    "mobileclip-l-14": (24, 12),
}
"""Blocks of the image and the text tower of some models."""
TOWERS = ("image_encoder", "text_encoder")


def tiny_model() -> ImageTextModel:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return load_model("mobileclip-tiny", weights=None, reparameterize=False)


def trained_names(**settings: Any) -> set[str]:
    model = tiny_model()
    prepare_fine_tuning(model, FineTuning(**settings))
    return {name for name, parameter in model.named_parameters() if parameter.requires_grad}


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.name)
def test_every_parameter_of_every_model_has_a_place(card: ImageTextCard) -> None:
    with torch.device("meta"):
        names = [name for name, _ in build_from_card(card).named_parameters()]
    distances = distances_from_top(names)
    assert distances.keys() == set(names)
    assert distances["logit_scale"] == distances["text_encoder.projection"] == 0
    for tower in TOWERS:
        found = {distances[name] for name in names if tower_of(name) == tower}
        assert found == set(range(max(found) + 1)), "a block has no parameters of its own"
    lowest = [max(d for n, d in distances.items() if tower_of(n) == tower) for tower in TOWERS]
    assert card.name not in BLOCKS or lowest == [count + 1 for count in BLOCKS[card.name]]


def test_learning_rates_fall_from_the_top_to_the_bottom() -> None:
    scales = learning_rate_scales(tiny_model(), FineTuning(layer_decay=0.5))
    expected = {
        "logit_scale": 0,
        "image_encoder.head.fc.weight": 0,
        "image_encoder.final_conv.se.fc1.weight": 0,
        "image_encoder.stages.3.blocks.0.token_mixer.qkv.weight": 1,
        "image_encoder.stages.3.pos_emb.pos_enc.weight": 1,
        "image_encoder.stages.2.blocks.1.mlp.fc1.weight": 2,
        "image_encoder.stages.2.blocks.0.mlp.fc1.weight": 3,
        "image_encoder.stages.2.downsample.proj.0.large_conv.conv.weight": 3,
        "image_encoder.stages.0.blocks.0.mlp.fc1.weight": 5,
        "image_encoder.stem.0.conv_kxk.0.conv.weight": 6,
        "text_encoder.norm.weight": 0,
        "text_encoder.blocks.2.conv_mlp.fc1.weight": 1,
        "text_encoder.blocks.0.token_mixer.layer_scale.gamma": 3,
        "text_encoder.token_embedding.weight": 4,
        "text_encoder.positional_embedding": 4,
    }
    assert {name: scales[name] for name in expected} == {
        name: 0.5**distance for name, distance in expected.items()
    }


def test_a_layer_that_the_table_does_not_know_is_named() -> None:
    with pytest.raises(ValueError, match=r"'text_encoder\.adapter\.weight' has no place"):
        distances_from_top(["text_encoder.adapter.weight"])


def test_the_last_blocks_are_trained_with_what_follows_them() -> None:
    trained = trained_names(train="last", last_blocks=2)
    assert "logit_scale" in trained
    tops = {".".join(name.split(".")[:5]) for name in trained}
    blocks = {name[: name.index("blocks") + 8] for name in tops if "blocks" in name}
    assert blocks == {
        "image_encoder.stages.3.blocks.0",
        "image_encoder.stages.2.blocks.1",
        "text_encoder.blocks.2",
        "text_encoder.blocks.1",
    }
    assert not any("stem" in name or "embedding" in name for name in trained)


def test_the_other_tower_is_locked() -> None:
    everything = trained_names()
    assert everything == {name for name, _ in tiny_model().named_parameters()}
    for kept, locked in (("image", "text_encoder"), ("text", "image_encoder")):
        assert trained_names(towers=kept) == {n for n in everything if tower_of(n) != locked}


@pytest.mark.parametrize(
    "fine_tuning",
    [FineTuning(train="last"), FineTuning(towers="image"), FineTuning(train="last", last_blocks=0)],
    ids=["last", "image", "none"],
)
def test_what_is_frozen_stays_bit_for_bit_in_training_statistics_too(
    fine_tuning: FineTuning, tmp_path: Path
) -> None:
    recipe = toy_recipe(
        tmp_path, samples_seen=16, warmup_samples=0, fine_tuning=fine_tuning, learning_rate=0.01
    )
    model = build_model(recipe)
    before = copy.deepcopy(model.state_dict())
    train(recipe, model=model, loader=ToyLoader(recipe), world=ALONE)
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    layers = {name.rpartition(".")[0] for name in trained}
    for name, value in model.state_dict().items():
        moved = name in trained or name.rpartition(".")[0] in layers
        if not moved:
            assert torch.equal(value, before[name]), name
    assert all(not torch.equal(model.state_dict()[name], before[name]) for name in trained)
    running = [name for name in before if name.endswith("running_mean")]
    assert running and any(name.rpartition(".")[0] not in layers for name in running)


def test_frozen_statistics_survive_train_and_copies() -> None:
    model = tiny_model()
    prepare_fine_tuning(model, FineTuning(towers="text"))
    for one in (model, copy.deepcopy(model)):
        one.train()
        norms = [m for m in one.modules() if isinstance(m, torch.nn.BatchNorm2d)]
        assert norms
        for norm in norms:
            frozen = not any(p.requires_grad for p in norm.parameters())
            assert norm.training != frozen
        images = torch.rand(2, 3, 64, 64)
        was = {n: b.clone() for n, b in one.image_encoder.named_buffers()}
        one.encode_image(images)
        assert all(torch.equal(b, was[n]) for n, b in one.image_encoder.named_buffers())


def test_the_lowest_layers_move_least(tmp_path: Path) -> None:
    recipe = toy_recipe(tmp_path, samples_seen=8, warmup_samples=0, weight_decay=0.0)
    recipe = replace(recipe, fine_tuning=FineTuning(layer_decay=0.5), learning_rate=1e-3)
    model = build_model(recipe)
    before = copy.deepcopy(model.state_dict())
    train(recipe, model=model, loader=ToyLoader(recipe), world=ALONE)
    after = model.state_dict()
    # The first step of Adam moves every entry with a gradient by its learning rate.
    for key, distance in (
        ("image_encoder.head.fc.bias", 0),
        ("image_encoder.final_conv.conv_scale.bn.bias", 0),
        ("text_encoder.blocks.1.norm1.bias", 2),
        ("image_encoder.stem.2.identity.bias", 6),
    ):
        step = (after[key] - before[key]).abs().max().item()
        assert step == pytest.approx(1e-3 * 0.5**distance, rel=0.05)


@pytest.mark.parametrize(
    ("field", "value", "allowed"),
    [
        ("train", "head", "all or last or lora"),
        ("towers", "both towers", "both or image or text"),
        ("last_blocks", -1, "0 or more"),
        ("layer_decay", 0.0, r"in \(0, 1\]"),
        ("layer_decay", 1.5, r"in \(0, 1\]"),
        ("lora_rank", 0, "at least 1"),
        ("lora_alpha", 0.0, "above 0"),
    ],
)
def test_settings_that_cannot_be_are_refused(field: str, value: Any, allowed: str) -> None:
    with pytest.raises(ValueError, match=f"field {field} is {value}, but it must be {allowed}"):
        FineTuning(**{field: value})
