"""A vision-language model's tower and projector are one package; a tower alone is another.

.venv/bin/pytest tests/export/test_vision_parts.py
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.helpers.pictures import photo
from tests.helpers.realistic import make_realistic, relative_error
from zoo.export.coreml import export_coreml
from zoo.export.mil_interpreter import load_package
from zoo.export.package_report import ExportReport
from zoo.export.part import PIXEL_SCALE
from zoo.export.parts import parts_of
from zoo.export.toolchain import import_coremltools
from zoo.export.vision_parts import VISION_PACKAGE
from zoo.models.card import VisionLanguageCard, VisionTowerCard
from zoo.models.fastvlm.build import build_vision_language_model, build_vision_tower
from zoo.models.fastvlm.vision_language_model import VisionLanguageModel
from zoo.models.load import load_model
from zoo.models.registry import get_card_of

TINY = get_card_of(VisionLanguageCard, "fastvlm-tiny")
FASTVITHD = get_card_of(VisionTowerCard, "fastvithd")


def built(card: VisionLanguageCard = TINY) -> VisionLanguageModel:
    torch.manual_seed(0)
    model = build_vision_language_model(card).eval()
    make_realistic(model.image_encoder)
    return model


def spec_of(package: Path) -> Any:
    return import_coremltools().models.MLModel(str(package), skip_model_load=True).get_spec()


@pytest.fixture(scope="module")
def tiny_vision() -> VisionLanguageModel:
    """Shared by all tests: leave it as it is."""
    return built()


@pytest.fixture(scope="module")
def vision_export(
    tiny_vision: VisionLanguageModel, tmp_path_factory: pytest.TempPathFactory
) -> ExportReport:
    return export_coreml(tiny_vision, tmp_path_factory.mktemp("vision"))


def test_one_package_agrees_with_the_model(vision_export: ExportReport) -> None:
    assert list(vision_export.parts) == ["vision"]
    part = vision_export.parts["vision"]
    assert part.package.name == VISION_PACKAGE
    assert part.verification.precision == "float16"
    assert 0 < part.verification.relative_l2 < 5e-3
    assert part.verification.cosine > 0.9999
    assert part.bytes < 2 * 2.1 * tower_and_projector(built()) + 1e6


def tower_and_projector(model: VisionLanguageModel) -> int:
    modules = (model.image_encoder, model.projector)
    return sum(value.numel() for module in modules for value in module.parameters())


def test_the_package_takes_a_padded_picture_and_gives_the_language_models_tokens(
    vision_export: ExportReport, tiny_vision: VisionLanguageModel
) -> None:
    picture = photo(300, 150)
    square = np.array(tiny_vision.preprocessing.to_square(picture))
    pixels = torch.from_numpy(square).permute(2, 0, 1)[None].float()
    run = load_package(vision_export.parts["vision"].package).run({"image": pixels})
    with torch.no_grad():
        expected = tiny_vision.visual_tokens(tiny_vision.preprocess(picture))
    assert expected.std() > 1e-3
    assert relative_error(run.outputs["visual_tokens"], expected) < 1e-2


def test_an_app_sees_a_picture_and_float32_tokens(vision_export: ExportReport) -> None:
    description = spec_of(vision_export.parts["vision"].package).description
    picture, tokens = description.input[0], description.output[0]
    assert picture.name == "image"
    assert (picture.type.imageType.width, picture.type.imageType.height) == (192, 192)
    assert "filled up on both sides with RGB (0, 0, 0)" in picture.shortDescription
    assert tokens.name == "visual_tokens"
    assert list(tokens.type.multiArrayType.shape) == [1, 9, 192]
    array = tokens.type.multiArrayType
    assert array.ArrayDataType.Name(array.dataType) == "FLOAT32"
    assert "9 visual tokens of 192" in tokens.shortDescription


def test_metadata_says_what_an_app_must_know(vision_export: ExportReport) -> None:
    metadata = spec_of(vision_export.parts["vision"].package).description.metadata
    figures = {name.removeprefix("zoo."): value for name, value in metadata.userDefined.items()}
    expected = {
        "model": "fastvlm-tiny",
        "weights_sha256": vision_export.weights_sha256,
        "image_size": "192",
        "visual_tokens": "9",
        "hidden_size": "192",
        "aspect": "pad",
        "interpolation": "bicubic",
        "language_model": "qwen2",
        "stride": "64",
    }
    assert expected.items() <= figures.items()
    assert "fastvlm-tiny at 192 pixels: 9 visual tokens" in metadata.shortDescription
    assert "a qwen2 of width 192" in metadata.shortDescription
    assert "Apache-2.0" in metadata.license


def test_another_size_and_the_multi_scale_option_are_exported_as_they_are(tmp_path: Path) -> None:
    model = built(replace(TINY, multi_scale="depthwise"))
    assert model.multi_scale is not None
    for parameter in model.multi_scale.parameters():
        nn.init.normal_(parameter, std=0.1)
    preprocessing = replace(model.preprocessing, image_size=128, aspect="crop")
    model.set_views(replace(model.views, preprocessing=preprocessing))
    report = export_coreml(model, tmp_path, precision="float32")
    assert report.parts["vision"].verification.relative_l2 < 1e-5
    description = spec_of(report.parts["vision"].package).description
    assert list(description.output[0].type.multiArrayType.shape) == [1, 4, 192]
    assert "cropped at the centre to 128x128" in description.input[0].shortDescription


@pytest.fixture(scope="module")
def small_tower() -> nn.Module:
    """FastViTHD's class with the numbers of the tiny one, and its CLIP head."""
    torch.manual_seed(0)
    card = replace(FASTVITHD, image=TINY.image, preprocessing=TINY.preprocessing, feature_dim=768)
    tower = build_vision_tower(card).eval()
    make_realistic(tower.image_encoder)
    return tower


def test_a_tower_alone_gives_its_features(small_tower: Any, tmp_path: Path) -> None:
    report = export_coreml(small_tower, tmp_path)
    package = report.parts["vision"].package
    assert report.parts["vision"].verification.cosine > 0.9999
    assert list(spec_of(package).description.output[0].type.multiArrayType.shape) == [1, 9, 768]
    assert load_package(package).output_names == ["image_features"]


def test_the_language_model_is_not_copied_and_the_model_stays(
    tiny_vision: VisionLanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: object, memo: object) -> object:
        raise AssertionError("the language model is copied")

    before = {name: value.clone() for name, value in tiny_vision.state_dict().items()}
    kind = type(tiny_vision.language_model)
    monkeypatch.setattr(kind, "__deepcopy__", refuse, raising=False)
    (part,) = parts_of(tiny_vision)
    module_parameters: list[Tensor] = list(part.module.parameters())
    assert sum(p.numel() for p in module_parameters) < tower_and_projector(tiny_vision) * 1.01
    after = tiny_vision.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_a_model_loaded_for_inference_is_exported_too() -> None:
    """Its tower is folded, and arranged for the CPU."""
    torch.manual_seed(0)
    model = load_model("fastvlm-tiny", weights=None)
    (part,) = parts_of(model)
    with torch.no_grad():
        for (pixels,) in part.examples:
            expected = model.visual_tokens(pixels / 255)
            assert expected.std() > 1e-4
            assert relative_error(part.module(pixels * PIXEL_SCALE), expected) < 1e-3


@pytest.mark.slow
def test_the_whole_fastvithd_agrees(tmp_path: Path) -> None:
    """Minutes: 125 M parameters at 256 pixels."""
    torch.manual_seed(0)
    tower = load_model("fastvithd", weights=None, image_size=256, reparameterize=False)
    make_realistic(tower.image_encoder)
    part = export_coreml(tower, tmp_path).parts["vision"]
    assert part.verification.relative_l2 < 1e-2
    assert part.verification.cosine > 0.9999
    assert part.bytes == pytest.approx(2 * 122.7e6, rel=0.02)
