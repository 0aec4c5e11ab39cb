"""The towers compute what the original implementations compute.

.venv/bin/pytest tests/models/test_fidelity.py
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from realistic import make_realistic, relative_error
from seeded import seeded_array, seeded_image
from torch import Tensor, nn

from zoo import load_model
from zoo.models.assemble import assemble, export_state
from zoo.models.card import ImageTextCard
from zoo.models.checkpoint import Checkpoint
from zoo.models.mobileclip.cards import CARDS
from zoo.models.registry import get_card_of

FIXTURES = Path(__file__).parent.parent / "fixtures"
TOLERANCE = 1e-5

OPEN_CLIP_NAMES = {
    "mobileclip-s1": "MobileCLIP-S1",
    "mobileclip-s2": "MobileCLIP-S2",
    "mobileclip-b": "MobileCLIP-B",
    "mobileclip2-s0": "MobileCLIP2-S0",
    "mobileclip2-s2": "MobileCLIP2-S2",
    "mobileclip2-b": "MobileCLIP2-B",
    "mobileclip2-s3": "MobileCLIP2-S3",
    "mobileclip2-s4": "MobileCLIP2-S4",
    "mobileclip2-l-14": "MobileCLIP2-L-14",
}


# Variants that differ from another in their weights alone.
TWINS = {
    "mobileclip-b-lt": "mobileclip-b",
    "mobileclip-s3": "mobileclip2-s3",
    "mobileclip-s4": "mobileclip2-s4",
    "mobileclip-l-14": "mobileclip2-l-14",
}


def seeded_state(entries: dict[str, Any]) -> dict[str, Tensor]:
    return {
        key: torch.from_numpy(np.asarray(seeded_array(key, tuple(shape))))
        for key, (shape, _) in entries.items()
    }


@pytest.mark.parametrize("reparameterize", [False, True])
@pytest.mark.parametrize("name", ["mobileclip-s0", "mobileclip-s2"])
def test_features_equal_those_of_the_original_implementation(
    name: str, reparameterize: bool, tmp_path: Path
) -> None:
    stem = name.replace("-", "_")
    listing = json.loads((FIXTURES / f"{stem}.json").read_text())
    expected = np.load(FIXTURES / f"{stem}.npz")
    torch.save(seeded_state(listing["checkpoint"]), tmp_path / f"{stem}.pt")

    model = load_model(name, weights=tmp_path / f"{stem}.pt", reparameterize=reparameterize)
    tokens = model.tokenize(listing["texts"])
    with torch.no_grad():
        image = model.encode_image(torch.from_numpy(seeded_image("image", model.card.image_size)))
        text = model.encode_text(tokens)

    assert tokens.tolist() == expected["tokens"].tolist()
    assert relative_error(image, torch.from_numpy(expected["image_features"])) <= TOLERANCE
    assert relative_error(text, torch.from_numpy(expected["text_features"])) <= TOLERANCE


@pytest.mark.parametrize("name", ["mobileclip-s0", "mobileclip-s2"])
def test_a_checkpoint_that_the_original_reparameterized_loads_strictly(
    name: str, tmp_path: Path
) -> None:
    stem = name.replace("-", "_")
    listing = json.loads((FIXTURES / f"{stem}.json").read_text())
    train_time = Checkpoint(source="train", state=seeded_state(listing["checkpoint"]))
    model, form = assemble(get_card_of(ImageTextCard, name), train_time)
    assert form == "train-time"
    merged, form = assemble(
        get_card_of(ImageTextCard, name),
        Checkpoint(source="merged", state=seeded_state(listing["reparameterized"])),
    )
    assert form == "merged"
    shapes = {key: list(value.shape) for key, value in export_state(merged, "apple").items()}
    assert shapes == {key: shape for key, (shape, _) in listing["reparameterized"].items()}
    del model


@pytest.fixture(scope="module")
def peer(request: pytest.FixtureRequest) -> nn.Module:
    """open_clip's model with weights that look trained."""
    torch.manual_seed(0)
    model = open_clip.create_model(request.param).eval()
    make_realistic(model)
    return model


def as_the_original(name: str, peer: Any) -> None:
    """Give open_clip's ViT-B the first stem padding and epsilon that Apple trained it with."""
    apple = name == "mobileclip-b"
    if peer.visual.trunk.__class__.__name__ != "VisionTransformer" or "-b" not in name:
        return
    peer.visual.trunk.patch_embed.backbone[0].conv.padding = (1, 1) if apple else (0, 0)
    for module in peer.visual.trunk.modules():
        if isinstance(module, nn.LayerNorm):
            module.eps = 1e-5 if apple else 1e-6


def weights_as_published(name: str, peer: nn.Module, folder: Path) -> Path:
    """Write the peer's weights under the keys and file name of the authors' release."""
    card = get_card_of(ImageTextCard, name)
    assert card.weights is not None
    state = peer.state_dict()
    if card.weights.naming == "apple":
        for key in ("visual.trunk.head.fc.bias", "visual.trunk.head.bias"):
            if key in state:
                state[key].zero_()
        model, _ = assemble(card, Checkpoint(source="peer", state=state))
        state = export_state(model, "apple")
    path = folder / card.weights.filename
    torch.save(state, path)
    return path


@pytest.mark.parametrize(
    ("peer", "name"),
    sorted(((peer, name) for name, peer in OPEN_CLIP_NAMES.items())),
    indirect=["peer"],
)
def test_every_variant_equals_open_clip_with_the_same_weights(
    peer: Any, name: str, tmp_path: Path
) -> None:
    as_the_original(name, peer)
    model = load_model(name, weights=weights_as_published(name, peer, tmp_path))
    torch.manual_seed(1)
    image = torch.rand(2, 3, model.card.image_size, model.card.image_size)
    text = model.tokenize(["a photo of a dog", "two children climb a long flight of stairs"])

    with torch.no_grad():
        expected_image, expected_text, _ = peer(image, text)
        image_features, text_features, logit_scale = model(image, text)

    assert relative_error(image_features, expected_image) <= TOLERANCE
    assert relative_error(text_features, expected_text) <= TOLERANCE
    logits = logit_scale * image_features @ text_features.T
    expected = peer.logit_scale.exp() * expected_image @ expected_text.T
    # Of the largest logit there can be: the cosines of made-up weights nearly cancel to 0.
    assert (logits - expected).abs().max() <= TOLERANCE * logit_scale


@pytest.mark.parametrize(("name", "twin"), TWINS.items())
def test_a_twin_has_the_towers_of_the_variant_that_was_compared(name: str, twin: str) -> None:
    card, other = get_card_of(ImageTextCard, name), get_card_of(ImageTextCard, twin)
    assert (card.image, card.text, card.embed_dim) == (other.image, other.text, other.embed_dim)
    assert card.weights is not None
    assert other.weights is not None
    assert card.weights.naming == other.weights.naming


def test_the_parity_tests_cover_every_published_variant_but_the_one_open_clip_lacks() -> None:
    published = {card.name for card in CARDS if card.weights is not None}
    assert published == OPEN_CLIP_NAMES.keys() | TWINS.keys() | {"mobileclip-s0"}
