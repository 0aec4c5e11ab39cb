"""A SAM-CLIP goes into its file and comes back; it begins with a SAM and takes any picture size.

.venv/bin/pytest tests/models/sam_clip/test_sam_clip_load.py
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from realistic import relative_error
from safetensors.torch import load_file, save_file
from timm.layers.pos_embed import resample_abs_pos_embed_nhwc
from torch import Tensor
from torch.nn import functional as F

from zoo import load_model
from zoo.models.card import SamClipCard
from zoo.models.checkpoint import save_weights
from zoo.models.registry import get_card_of
from zoo.models.sam_clip.assemble import SAM_PARTS
from zoo.models.sam_clip.build import build_sam_clip
from zoo.models.sam_clip.sam_clip_model import SamClipModel
from zoo.models.sam_clip.start import starting_model

NAME = "sam-clip-tiny"
CARD = get_card_of(SamClipCard, NAME)


@pytest.fixture(scope="module")
def model() -> SamClipModel:
    torch.manual_seed(0)
    model = build_sam_clip(CARD).eval()
    tower: Any = model.image_encoder
    with torch.no_grad():
        tower.pos_embed.normal_(std=0.5)
        for block in tower.blocks:
            block.attn.rel_pos_h.normal_(std=0.2)
            block.attn.rel_pos_w.normal_(std=0.2)
    return model


@pytest.fixture(scope="module")
def path(model: SamClipModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("own") / "weights.safetensors"
    save_weights(model, path)
    return path


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def written(state: dict[str, Tensor], path: Path) -> Path:
    save_file(state, path)
    return path


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("sam-clip-vit-b", "zoo train sam-clip-stage1.*sam_vit_b_01ec64.pth"),
        (NAME, "zoo train sam-clip-tiny-stage1.*sam-clip-tiny-sam"),
    ],
)
def test_no_weights_were_published_and_the_error_says_what_to_do(name: str, advice: str) -> None:
    with pytest.raises(ValueError, match=f"{name} has no published weights; .*{advice}.*none"):
        load_model(name)


def test_a_file_of_ours_gives_the_model_back(model: SamClipModel, path: Path) -> None:
    loaded = load_model(NAME, weights=path, reparameterize=False)
    assert same(loaded.state_dict(), model.state_dict())
    assert loaded.card == model.card
    assert not loaded.training


def test_a_file_says_its_embedding_and_its_sizes(tmp_path: Path) -> None:
    card = replace(CARD, embed_dim=40, mask_image_size=96, segmentation_image_size=80)
    save_weights(build_sam_clip(card), tmp_path / "other.safetensors")
    assert load_model(NAME, weights=tmp_path / "other.safetensors").card == card


def test_a_file_without_text_tower_works_until_a_text_is_encoded(
    model: SamClipModel, path: Path, tmp_path: Path
) -> None:
    state = {key: value for key, value in load_file(path).items() if "text_" not in key}
    loaded = load_model(NAME, weights=written(state, tmp_path / "images.safetensors"))
    image = torch.randn(1, 3, 64, 64)
    assert torch.equal(loaded.encode_image(image), model.encode_image(image))
    with pytest.raises(ValueError, match=r"images.safetensors' holds .* without a text tower"):
        loaded.encode_text(loaded.tokenize("a ring"))


def test_a_file_that_misses_an_entry_is_refused(path: Path, tmp_path: Path) -> None:
    state = load_file(path)
    del state["clip_head.mlp.2.bias"]
    with pytest.raises(ValueError, match=r"does not fit sam-clip-tiny: 1 keys missing \('clip_h"):
        load_model(NAME, weights=written(state, tmp_path / "damaged.safetensors"))


def test_a_file_of_another_model_is_refused(path: Path) -> None:
    with pytest.raises(ValueError, match="weights of sam-clip-tiny, not of sam-clip-vit-b"):
        load_model("sam-clip-vit-b", weights=path)


def test_weights_in_half_precision_are_computed_with_in_float32(path: Path, tmp_path: Path) -> None:
    half = {key: value.half() for key, value in load_file(path).items()}
    place = written(half, tmp_path / "half.safetensors")
    assert load_model(NAME, weights=place).logit_scale.dtype == torch.float32
    assert load_model(NAME, weights=place, dtype=torch.bfloat16).logit_scale.dtype == torch.bfloat16


def test_an_image_size_is_a_multiple_of_the_stride(path: Path) -> None:
    assert load_model(NAME, weights=path, image_size=96).preprocessing.image_size == 96
    for size in (0, 100):
        with pytest.raises(ValueError, match=f"image_size={size} does not .* multiple of 8 pixels"):
            load_model(NAME, weights=path, image_size=size)


@pytest.mark.parametrize("size", [32, 96, 128, 192])
@torch.no_grad()
def test_a_picture_of_another_size_meets_the_tower_that_timm_builds_for_it(
    model: SamClipModel, size: int
) -> None:
    overrides = {**CARD.image.overrides, "img_size": size}
    peer: Any = timm.create_model(CARD.image.timm_name, num_classes=0, **overrides).eval()
    for module in peer.modules():
        if isinstance(module, torch.nn.LayerNorm):
            module.eps = 1e-6
    grid, state = size // CARD.stride, model.image_encoder.state_dict()
    state["pos_embed"] = resample_abs_pos_embed_nhwc(state["pos_embed"], [grid, grid])
    for key, wanted in peer.state_dict().items():
        if "rel_pos" in key:
            # As `get_rel_pos` of the original's image_encoder.py.
            state[key] = F.interpolate(state[key].T[None], len(wanted), mode="linear")[0].T
    peer.load_state_dict(state)
    image = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(size))
    embedding = model.mask_embedding(model.tokens(image))
    assert embedding.shape == (2, CARD.decoder.width, grid, grid)
    assert relative_error(embedding, peer.forward_features(image)) < 1e-5


def test_a_training_begins_with_the_sam_and_copies_of_its_last_block(
    model: SamClipModel, path: Path
) -> None:
    torch.manual_seed(1)
    begun = starting_model(NAME, sam=path, text=None)
    for part in SAM_PARTS:
        assert same(getattr(begun, part).state_dict(), getattr(model, part).state_dict())
    last: Any = model.image_encoder
    for block in begun.clip_head.blocks:
        assert same(block.state_dict(), last.blocks[-1].state_dict())
    first = "mlp.0.weight"
    assert not torch.equal(begun.clip_head.state_dict()[first], model.clip_head.state_dict()[first])
    torch.manual_seed(1)
    assert same(begun.state_dict(), starting_model(NAME, sam=path, text=None).state_dict())


def test_a_training_begins_with_timms_tower_too(model: SamClipModel, tmp_path: Path) -> None:
    tower = dict(model.image_encoder.state_dict())
    begun = starting_model(NAME, sam=written(tower, tmp_path / "timm.safetensors"), text=None)
    assert same(begun.image_encoder.state_dict(), tower)
    assert not same(begun.mask_decoder.state_dict(), model.mask_decoder.state_dict())


def test_what_began_without_text_tower_is_saved_and_loaded_so(tmp_path: Path) -> None:
    begun = starting_model(NAME, sam=None, text=None)
    with pytest.raises(ValueError, match="This sam-clip-tiny has no text tower; begin"):
        begun.encode_text(begun.tokenize("a ring"))
    save_weights(begun, tmp_path / "sam.safetensors")
    loaded = load_model(NAME, weights=tmp_path / "sam.safetensors")
    assert same(loaded.state_dict(), begun.state_dict())


def test_a_damaged_part_is_named(model: SamClipModel, tmp_path: Path) -> None:
    state = {k: v for k, v in model.state_dict().items() if k.startswith(SAM_PARTS)}
    del state["mask_decoder.iou_token.weight"]
    with pytest.raises(ValueError, match=r"mask_decoder of '.*' does not fit .*: 1 keys missing"):
        starting_model(NAME, sam=written(state, tmp_path / "bad.safetensors"), text=None)
