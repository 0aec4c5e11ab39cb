"""Both heads read one pass of the tower, and the CLIP head's gradients reach all but SAM's neck.

.venv/bin/pytest tests/models/sam_clip/test_sam_clip_model.py
"""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.models.card import SamClipCard
from zoo.models.load import load_model
from zoo.models.registry import get_card_of
from zoo.models.sam_clip.build import build_sam_clip
from zoo.models.sam_clip.clip_head import ClipHead
from zoo.models.sam_clip.prompt_encoder import FOREGROUND
from zoo.models.sam_clip.prompts import Prompts
from zoo.models.sam_clip.sam_clip_model import SamClipModel

TINY = get_card_of(SamClipCard, "sam-clip-tiny")
POINT = Prompts(torch.tensor([[[0.3, 0.6]]]), torch.tensor([[FOREGROUND]]))


@pytest.fixture(scope="module")
def model() -> SamClipModel:
    """Shared by all tests: leave it as it is."""
    torch.manual_seed(0)
    model = build_sam_clip(TINY).eval()
    for name, parameter in model.named_parameters():
        if "pos_embed" in name or "rel_pos" in name:  # zero at first, which hides them
            nn.init.normal_(parameter, std=0.5)
    return model


def picture(size: int, count: int = 1) -> Tensor:
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(size))


@torch.no_grad()
def test_a_feature_is_the_largest_of_each_channel_normed_and_projected(model: SamClipModel) -> None:
    head, tokens = model.clip_head, model.tokens(picture(64))
    pooled = head.blocks(tokens).flatten(1, 2).max(dim=1).values
    expected = head.mlp(F.layer_norm(pooled, (TINY.width,), head.norm.weight, head.norm.bias, 1e-6))
    torch.testing.assert_close(model.encode_image(picture(64)), expected)
    assert expected.std() > 1e-3


def read_around(head: ClipHead, read: Tensor, row: int, column: int, sides: list[int]) -> Tensor:
    """A patch's feature, from what the blocks give: every square cut out by itself."""
    features = []
    for half in (side // 2 for side in sides):
        rows = slice(max(0, row - half), row + half + 1)
        columns = slice(max(0, column - half), column + half + 1)
        largest = read[:, rows, columns].amax(dim=(1, 2))
        features.append(F.normalize(head.project(largest), dim=-1))
    return torch.stack(features).mean(dim=0)


@torch.no_grad()
@pytest.mark.parametrize(
    ("size", "sides"), [(32, [3]), (64, [3, 5]), (96, [3, 5, 9]), (184, [3, 5, 9, 17])]
)
def test_a_patch_is_pooled_with_those_around_it_near_and_far(
    model: SamClipModel, size: int, sides: list[int]
) -> None:
    """Up to three quarters of the picture."""
    head, tokens = model.clip_head, model.tokens(picture(size))
    read, patches = head.blocks(tokens), head.patches(tokens)
    last = size // TINY.stride - 1
    for row, column in [(2, 3), (0, last), (last, last)]:
        expected = read_around(head, read, row, column, sides)
        torch.testing.assert_close(patches[:, row, column], expected)
    assert not torch.equal(patches[:, 2, 3], patches[:, 0, last])


@torch.no_grad()
def test_dense_features_have_unit_length_where_asked(model: SamClipModel) -> None:
    dense = model.dense_features(picture(64), normalize=True)
    assert dense.shape == (1, 8, 8, TINY.embed_dim)
    torch.testing.assert_close(dense.norm(dim=-1), torch.ones(1, 8, 8))


@torch.no_grad()
def test_padding_is_no_neighbour(model: SamClipModel) -> None:
    """The patches of a picture are pooled with those of the picture alone, and its own shorter side
    says how far."""
    head, tokens = model.clip_head, model.tokens(picture(96))
    patches = head.patches(tokens, shown=(7, 12))
    expected = read_around(head, head.blocks(tokens)[:, :7], 6, 5, [3, 5])
    torch.testing.assert_close(patches[:, 6, 5], expected)
    assert not torch.allclose(patches[:, 6, 5], head.patches(tokens)[:, 6, 5])


@torch.no_grad()
@pytest.mark.parametrize("size", [64, 128])
def test_one_pass_serves_words_and_masks(model: SamClipModel, size: int) -> None:
    tokens = model.tokens(picture(size))
    assert torch.equal(model.clip_head(tokens), model.encode_image(picture(size)))
    assert torch.equal(model.clip_head.patches(tokens), model.dense_features(picture(size)))
    embedding = model.mask_embedding(tokens)
    timm_embedding = model.image_encoder.get_submodule("neck")(tokens.permute(0, 3, 1, 2))
    assert torch.equal(embedding, timm_embedding)
    masks, iou = model.decode_masks(embedding, POINT)
    side = 4 * size // TINY.stride
    assert (masks.shape, iou.shape) == ((1, 4, side, side), (1, 4))


@torch.no_grad()
def test_the_same_picture_gives_the_same_bits_alone_and_again(model: SamClipModel) -> None:
    assert torch.equal(model.encode_image(picture(64)), model.encode_image(picture(64)))
    two = model.encode_image(picture(64, 2))
    torch.testing.assert_close(two[:1], model.encode_image(picture(64, 2)[:1]))


def test_gradients_of_the_clip_head_reach_all_of_the_tower_but_the_neck() -> None:
    torch.manual_seed(0)
    model = build_sam_clip(TINY).train()
    for parameter in model.parameters():
        if not parameter.any():  # a gradient through a zero would be hidden
            nn.init.normal_(parameter, std=0.1)
    model.encode_image(picture(64)).square().sum().backward()
    without = {n for n, p in model.image_encoder.named_parameters() if p.grad is None}
    assert without == {n for n, _ in model.image_encoder.named_parameters() if "neck" in n}
    reached = [p for p in model.image_encoder.parameters() if p.grad is not None]
    assert all(
        p.grad is not None and p.grad.any() for p in [*reached, *model.clip_head.parameters()]
    )


def test_blocks_of_the_head_begin_as_the_towers_last_and_are_its_own() -> None:
    model = build_sam_clip(TINY)
    blocks = model.image_encoder.get_submodule("blocks")
    assert isinstance(blocks, nn.Sequential)
    last = blocks[-1].state_dict()
    for block in model.clip_head.blocks:
        state = block.state_dict()
        assert all(torch.equal(state[name], last[name]) for name in last)
        assert all(state[name].data_ptr() != last[name].data_ptr() for name in last)


def test_a_side_that_the_stride_does_not_divide_is_refused(model: SamClipModel) -> None:
    with pytest.raises(ValueError, match=r"100x100 pixels; give sides that are multiples of 8"):
        model.encode_image(picture(100))


def test_vit_b_has_the_sizes_of_sam() -> None:
    with torch.device("meta"):
        model = build_sam_clip(get_card_of(SamClipCard, "sam-clip-vit-b"))

    def parameters(module: nn.Module) -> int:
        return sum(parameter.numel() for parameter in module.parameters())

    assert round(parameters(model.image_encoder) / 1e6, 3) == 89.671
    assert round(parameters(model.clip_head) / 1e6, 2) == 23.09
    assert round(parameters(model.mask_decoder) / 1e6, 3) == 4.058
    assert parameters(model.prompt_encoder) == 6_220
    assert {m.eps for m in model.image_encoder.modules() if isinstance(m, nn.LayerNorm)} == {1e-6}


def test_loading_by_name_gives_the_cards_sizes() -> None:
    model = load_model("sam-clip-tiny", weights=None)
    assert isinstance(model, SamClipModel)
    assert not model.training
    assert model.preprocess(torch.rand(3, 50, 40)).shape == (3, 64, 64)
    other = replace(TINY, embed_dim=32)
    assert build_sam_clip(other).encode_image(picture(64)).shape == (1, 32)
