"""One pass over a picture and the masks of its prompts are a package each.

.venv/bin/pytest tests/export/test_sam_clip_export.py
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.helpers.realistic import relative_error
from zoo.export.coreml import export_coreml
from zoo.export.mil_interpreter import load_package
from zoo.export.package_report import ExportReport
from zoo.export.parts import parts_of
from zoo.export.sam_clip_parts import POINTS
from zoo.export.toolchain import import_coremltools
from zoo.models.card import MaskDecoderConfig, SamClipCard, TextEncoderConfig
from zoo.models.registry import get_card_of
from zoo.models.sam_clip.assemble import NoClipHead, NoTextTower
from zoo.models.sam_clip.build import build_sam_clip
from zoo.models.sam_clip.prompt_encoder import (
    ABSENT,
    BOTTOM_RIGHT,
    FOREGROUND,
    NOT_A_POINT,
    TOP_LEFT,
)
from zoo.models.sam_clip.prompts import Prompts
from zoo.models.sam_clip.sam_clip_model import SamClipModel

TINY = get_card_of(SamClipCard, "sam-clip-tiny")
SIZE, GRID = 48, 6


def small_card() -> SamClipCard:
    """One block of windows and one of the whole picture: conversion takes seconds a block."""
    numbers = {"depth": 2, "embed_dim": 32, "num_heads": 2, "neck_chans": 32, "window_size": 4}
    overrides = {**TINY.image.overrides, **numbers, "global_attn_indexes": (1,)}
    return replace(
        TINY,
        image=replace(TINY.image, overrides=overrides),
        width=32,
        embed_dim=32,
        decoder=MaskDecoderConfig(width=32, depth=1, heads=2, mlp_width=32, iou_width=16),
        text=TextEncoderConfig(
            width=32, heads=2, blocks=("attention",), context_length=8, vocab_size=64
        ),
        preprocessing=replace(TINY.preprocessing, image_size=SIZE),
    )


@pytest.fixture(scope="module")
def model() -> SamClipModel:
    """Shared by all tests: leave it as it is. Its pictures are not of the size that its positions
    were made for, and no position is zero."""
    torch.manual_seed(0)
    model = build_sam_clip(small_card()).eval()
    for name, parameter in model.named_parameters():
        if "pos_embed" in name or "rel_pos" in name:
            nn.init.normal_(parameter, std=0.5)
    return model


@pytest.fixture(scope="module")
def exported(model: SamClipModel, tmp_path_factory: pytest.TempPathFactory) -> ExportReport:
    return export_coreml(model, tmp_path_factory.mktemp("sam-clip"))


def run(report: ExportReport, part: str, **inputs: Tensor) -> dict[str, Tensor]:
    return load_package(report.parts[part].package).run(inputs).outputs


def spec_of(package: Path) -> Any:
    return import_coremltools().models.MLModel(str(package), skip_model_load=True).get_spec()


def prompt(*labels: int, mask: Tensor | None = None) -> dict[str, Tensor]:
    """Inputs of the mask decoder, without the embedding."""
    points = torch.rand(1, POINTS, 2, generator=torch.Generator().manual_seed(len(labels)))
    kinds = [*labels, *[ABSENT] * (POINTS - len(labels))]
    return {
        "points": points,
        "point_labels": torch.tensor([kinds], dtype=torch.int32),
        "mask_input": torch.zeros(1, 1, 4 * GRID, 4 * GRID) if mask is None else mask,
        "has_mask_input": torch.tensor([float(mask is not None)]),
    }


@pytest.mark.slow
def test_three_packages_agree_with_the_model(exported: ExportReport) -> None:
    assert {name: part.package.name for name, part in exported.parts.items()} == {
        "image": "image_encoder.mlpackage",
        "masks": "mask_decoder.mlpackage",
        "text": "text_encoder.mlpackage",
    }
    for part in exported.parts.values():
        assert part.verification.precision == "float16"
        assert 0 < part.verification.relative_l2 < 5e-3
        assert part.verification.cosine > 0.9999
        assert part.verification.largest_activation < 1e3


@pytest.mark.slow
@torch.no_grad()
def test_one_pass_gives_features_patches_and_what_the_masks_need(
    exported: ExportReport, model: SamClipModel
) -> None:
    pixels = torch.rand(1, 3, SIZE, SIZE).mul(255).round()
    outputs = run(exported, "image", image=pixels)
    tokens = model.tokens(model.preprocessing.normalize(pixels / 255))
    expected = {
        "image_features": nn.functional.normalize(model.clip_head(tokens), dim=-1),
        "patch_features": nn.functional.normalize(model.clip_head.patches(tokens), dim=-1).reshape(
            1, GRID**2, 32
        ),
        "mask_embedding": model.mask_embedding(tokens),
    }
    assert list(outputs) == list(expected)
    for name, value in expected.items():
        assert relative_error(outputs[name], value) < 1e-2, name


@pytest.mark.slow
@torch.no_grad()
@pytest.mark.parametrize("labels", [(FOREGROUND, NOT_A_POINT), (TOP_LEFT, BOTTOM_RIGHT), (1, 0, 1)])
@pytest.mark.parametrize("with_mask", [False, True])
def test_places_left_over_do_not_change_the_masks(
    exported: ExportReport, model: SamClipModel, labels: tuple[int, ...], with_mask: bool
) -> None:
    mask = 5 * torch.randn(1, 1, 4 * GRID, 4 * GRID) if with_mask else None
    inputs = prompt(*labels, mask=mask)
    embedding = torch.randn(1, 32, GRID, GRID)
    outputs = run(exported, "masks", mask_embedding=embedding, **inputs)
    points = inputs["points"][:, : len(labels)]
    masks, iou = model.decode_masks(embedding, Prompts(points, torch.tensor([labels]), mask))
    assert relative_error(outputs["masks"], masks) < 1e-2
    assert relative_error(outputs["iou_predictions"], iou) < 1e-2


@pytest.mark.slow
def test_half_precision_does_not_move_points(exported: ExportReport) -> None:
    """Both x are the same number in float16."""
    embedding, inputs = torch.randn(1, 32, GRID, GRID), prompt(FOREGROUND, NOT_A_POINT)
    masks = []
    for x in (0.9000, 0.9001):
        inputs["points"][0, 0, 0] = x
        masks.append(run(exported, "masks", mask_embedding=embedding, **inputs)["masks"])
    assert torch.tensor(0.9000).half() == torch.tensor(0.9001).half()
    assert not torch.equal(*masks)


@pytest.mark.slow
def test_an_app_sees_how_to_prepare_pictures_and_prompts(exported: ExportReport) -> None:
    image = spec_of(exported.parts["image"].package).description
    masks = spec_of(exported.parts["masks"].package).description
    assert "filled up on the right and below with RGB (124, 116, 104)" in (
        image.input[0].shortDescription
    )
    shapes = {one.name: list(one.type.multiArrayType.shape) for one in masks.input}
    assert shapes == {
        "mask_embedding": [1, 32, GRID, GRID],
        "points": [1, POINTS, 2],
        "point_labels": [1, POINTS],
        "mask_input": [1, 1, 4 * GRID, 4 * GRID],
        "has_mask_input": [1],
    }
    assert [one.name for one in masks.output] == ["masks", "iou_predictions"]
    assert dict(masks.metadata.userDefined)["zoo.points"] == str(POINTS)


def test_a_size_that_the_stride_does_not_divide_is_refused(model: SamClipModel) -> None:
    other = build_sam_clip(small_card())
    other.set_preprocessing(replace(model.preprocessing, image_size=50))
    with pytest.raises(ValueError, match="image_size that is a multiple of 8"):
        parts_of(other)


def test_what_a_file_did_not_hold_is_left_out_or_refused() -> None:
    model = build_sam_clip(small_card())
    model.text_encoder = NoTextTower("no text tower")
    assert [part.name for part in parts_of(model)] == ["image", "masks"]
    model.set_submodule("clip_head", NoClipHead("no CLIP head"))
    with pytest.raises(ValueError, match="no CLIP head"):
        parts_of(model)


@torch.no_grad()
@pytest.mark.parametrize("size", [48, 64, 128])
def test_what_is_traced_gives_what_the_model_gives(model: SamClipModel, size: int) -> None:
    """Positions of one size, pixels as they are, and places left over in a prompt."""
    other = build_sam_clip(small_card()).eval()
    other.load_state_dict(model.state_dict())
    other.set_preprocessing(replace(model.preprocessing, image_size=size))
    for part in parts_of(other):
        for example in part.examples:
            inputs = [taken.traced(x) for taken, x in zip(part.inputs, example, strict=True)]
            actual, expected = part.module(*inputs), part.reference(*example)
            torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_the_whole_vit_b_agrees(tmp_path: Path) -> None:
    """Minutes: 117 M parameters at 224 pixels."""
    torch.manual_seed(0)
    model = build_sam_clip(get_card_of(SamClipCard, "sam-clip-vit-b")).eval()
    model.set_preprocessing(replace(model.preprocessing, image_size=224))
    for part in export_coreml(model, tmp_path).parts.values():
        assert part.verification.cosine > 0.999
