"""Dense features are what pooling would have averaged, or MaskCLIP's values of the last block.

.venv/bin/pytest tests/eval/segmentation/test_dense_features.py
"""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.eval.segmentation.dense_features import dense_features_of
from zoo.models.card import ImageEncoderConfig
from zoo.models.image_encoder import build_image_encoder, resize_image_encoder
from zoo.models.load import load_image_text_model

SMALL_VIT = ImageEncoderConfig(
    timm_name="vit_large_patch14_clip_224",
    overrides={"embed_dim": 32, "depth": 2, "num_heads": 4, "img_size": 28},
)
"""MobileCLIP-L/14's tower in small: its class token has a position."""
SMALL_HYBRID = ImageEncoderConfig(
    timm_name="vit_base_mci_224", overrides={"depth": 1, "img_size": 32}
)
"""MobileCLIP-B's: its class token has none."""


@pytest.fixture
def model() -> Any:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return load_image_text_model("mobileclip-tiny", weights=None, reparameterize=False)


def by_hand(tower: Any, images: Tensor) -> Tensor:
    """Patches (B, N, D) of a tower of the images' size, by MaskCLIP's definition."""
    tokens = tower.norm_pre(tower._pos_embed(tower.patch_embed(images)))
    for block in tower.blocks[:-1]:
        tokens = block(tokens)
    last = tower.blocks[-1]
    width = tokens.shape[-1]
    weight, bias = last.attn.qkv.weight[2 * width :], last.attn.qkv.bias[2 * width :]
    values = last.attn.proj(F.linear(last.norm1(tokens), weight, bias))
    tokens = tokens + values
    tokens = tokens + last.mlp(last.norm2(tokens))
    return tower.head(tower.norm(tokens))[:, 1:]


@torch.no_grad()
def test_the_mean_over_a_convolutional_towers_patches_is_its_feature(model: Any) -> None:
    images = torch.rand(2, 3, 96, 64)
    dense = dense_features_of(model)(images)
    assert dense.ndim == 4 and dense.shape[1] > 1
    torch.testing.assert_close(dense.mean(dim=(1, 2)), model.encode_image(images))
    fused = model.reparameterize()
    torch.testing.assert_close(dense_features_of(fused)(images), dense, atol=1e-4, rtol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize(("config", "own", "other"), [(SMALL_VIT, 28, 56), (SMALL_HYBRID, 32, 64)])
def test_a_transformers_patches_are_the_values_of_its_last_block_at_any_size(
    config: ImageEncoderConfig, own: int, other: int, model: Any
) -> None:
    torch.manual_seed(1)
    tower: Any = build_image_encoder(config, embed_dim=8).eval()
    nn.init.normal_(tower.pos_embed)
    nn.init.normal_(tower.blocks[-1].attn.qkv.bias)
    model.image_encoder = tower
    for size in (own, other):
        images = torch.rand(2, 3, size, size)
        resized = copy.deepcopy(tower)
        if size != own:
            resize_image_encoder(resized, size)
        dense = dense_features_of(model)(images)
        torch.testing.assert_close(dense.flatten(1, 2), by_hand(resized, images))
    with pytest.raises(ValueError, match=rf"The picture is {own + 1}x{own} pixels"):
        dense_features_of(model)(torch.rand(1, 3, own, own + 1))


@torch.no_grad()
def test_sam_clip_gives_its_own_and_an_unknown_tower_is_a_sentence(model: Any) -> None:
    torch.manual_seed(0)
    sam_clip: Any = load_image_text_model("sam-clip-tiny", weights=None)
    images = torch.rand(1, 3, 32, 48)
    assert torch.equal(dense_features_of(sam_clip)(images), sam_clip.dense_features(images))
    model.image_encoder = nn.Flatten()
    model.card = replace(model.card, name="mine")
    with pytest.raises(ValueError, match="mine has an image tower of class Flatten"):
        dense_features_of(model)
