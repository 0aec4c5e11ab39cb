"""What is easily got wrong about MobileCLIP is right here; each test names its trap.

.venv/bin/pytest tests/models/test_traps.py
"""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from realistic import make_realistic, relative_error
from torch import nn

from zoo import load_model
from zoo.models.card import ImageTextCard, TextEncoderConfig
from zoo.models.checkpoint import save_weights
from zoo.models.image_text_model import ImageTextModel
from zoo.models.mobileclip.build import build_model
from zoo.models.registry import get_card_of


@pytest.fixture(scope="module")
def tiny() -> ImageTextModel:
    torch.manual_seed(0)
    model = load_model("mobileclip-tiny", weights=None, reparameterize=False)
    make_realistic(model)
    return model


@pytest.mark.parametrize(
    ("name", "padding", "eps"),
    [
        ("mobileclip-b", (1, 1), 1e-5),
        ("mobileclip-b-lt", (1, 1), 1e-5),
        ("mobileclip2-b", (0, 0), 1e-6),
    ],
)
def test_the_first_stem_convolution_of_b_is_padded_in_the_first_release_only(
    name: str, padding: tuple[int, int], eps: float
) -> None:
    with torch.device("meta"):
        encoder = build_model(get_card_of(ImageTextCard, name)).image_encoder
    stem = encoder.get_submodule("patch_embed.backbone.0.conv")
    norm = encoder.get_submodule("blocks.0.norm1")
    assert isinstance(stem, nn.Conv2d)
    assert isinstance(norm, nn.LayerNorm)
    assert stem.padding == padding
    assert norm.eps == eps


def test_mobileclip2_s0_has_the_base_text_tower_whatever_its_readme_says() -> None:
    results = get_card_of(ImageTextCard, "mobileclip2-s0").results
    assert results is not None
    assert (results.text_parameters_millions, results.text_latency_ms) == (63.4, 3.3)


def test_mobileclip_s0_builds_whole_with_its_hybrid_text_tower() -> None:
    text = get_card_of(ImageTextCard, "mobileclip-s0").text
    assert isinstance(text, TextEncoderConfig)
    assert text.blocks == (
        "repmixer",
        "attention",
        "attention",
        "attention",
        "attention",
        "repmixer",
    )


def test_a_second_reparameterization_changes_nothing(tiny: ImageTextModel) -> None:
    once = tiny.reparameterize()
    twice = once.reparameterize()
    first, second = once.state_dict(), twice.state_dict()
    assert first.keys() == second.keys()
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_reparameterized_weights_load_back(tiny: ImageTextModel, tmp_path: Path) -> None:
    fused = tiny.reparameterize()
    save_weights(fused, tmp_path / "fused.safetensors")
    again = load_model("mobileclip-tiny", weights=tmp_path / "fused.safetensors")
    text = again.tokenize("a dog")
    assert torch.equal(again.encode_text(text), fused.encode_text(text))


def test_reparameterization_freezes_nothing_and_hides_no_tensor(tiny: ImageTextModel) -> None:
    fused = tiny.reparameterize()
    assert all(parameter.requires_grad for parameter in fused.parameters())
    hidden = [
        key
        for module in fused.modules()
        for key, value in vars(module).items()
        if isinstance(value, torch.Tensor)
    ]
    assert hidden == []


def test_the_batch_norm_of_the_conv_ffn_is_folded_which_timm_leaves(tiny: ImageTextModel) -> None:
    from timm.utils.model import reparameterize_model

    def batch_norms(model: nn.Module) -> int:
        return sum(isinstance(module, nn.BatchNorm2d) for module in model.modules())

    assert batch_norms(reparameterize_model(tiny.image_encoder)) > 0
    assert batch_norms(tiny.reparameterize()) == 0


def test_folding_happens_before_a_cast_to_half_precision(tiny: ImageTextModel) -> None:
    image = torch.rand(4, 3, 64, 64)
    exact = tiny.encode_image(image, normalize=True)
    folded_first = tiny.reparameterize().bfloat16()
    error = relative_error(folded_first.encode_image(image.bfloat16(), normalize=True), exact)
    assert error < 0.05


@pytest.mark.parametrize("name", ["mobileclip-s0", "mobileclip-s1"])
def test_the_text_projection_is_initialised_which_the_original_leaves_empty(name: str) -> None:
    torch.manual_seed(0)
    projection = load_model(name, weights=None).text_encoder.get_parameter("projection")
    assert float(projection.detach().std()) == pytest.approx(512**-0.5, rel=0.05)


def test_bidirectional_towers_see_the_padding_and_causal_ones_do_not(tiny: ImageTextModel) -> None:
    text = tiny.tokenize("a dog")
    changed = text.clone()
    changed[0, -1] = 5  # behind the end token
    assert not torch.allclose(tiny.encode_text(text), tiny.encode_text(changed))

    causal = load_model("mobileclip-b", weights=None)
    text = causal.tokenize("a dog")
    changed = text.clone()
    changed[0, -1] = 5
    assert torch.allclose(causal.encode_text(text), causal.encode_text(changed), atol=1e-6)


def test_the_logit_scale_is_clamped_to_100_at_forward(tiny: ImageTextModel) -> None:
    image = torch.rand(1, 3, 64, 64)
    assert float(tiny(image)[2].detach()) == pytest.approx(1 / 0.07)
    model = load_model("mobileclip-tiny", weights=None)
    model.logit_scale.data.fill_(math.log(500))
    assert float(model(image)[2].detach()) == pytest.approx(100)


def test_text_features_do_not_depend_on_how_texts_are_batched(tiny: ImageTextModel) -> None:
    text = tiny.tokenize(["a dog", "two red squares above a small circle", ""])
    together = tiny.encode_text(text)
    alone = torch.cat([tiny.encode_text(row[None]) for row in text])
    assert relative_error(together, alone) <= 1e-5


def test_other_image_sizes_work_and_change_the_preprocessing() -> None:
    model = load_model("mobileclip-b", weights=None, image_size=256)
    assert model.preprocessing.image_size == 256
    assert model.encode_image(torch.rand(1, 3, 256, 256)).shape == (1, 512)
    assert load_model("mobileclip-tiny", weights=None, image_size=100).encode_image(
        torch.rand(1, 3, 100, 100)
    ).shape == (1, 128)
    with pytest.raises(ValueError, match="image_size=225 does not fit mobileclip-b"):
        load_model("mobileclip-b", weights=None, image_size=225)
