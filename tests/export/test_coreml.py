"""Exported packages, executed from their files, give the model's features.

.venv/bin/pytest tests/export/test_coreml.py
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from zoo.export.coreml import export_coreml
from zoo.export.image_text_parts import IMAGE_PACKAGE, TEXT_PACKAGE
from zoo.export.mil_interpreter import load_package
from zoo.export.package_report import ExportReport
from zoo.export.toolchain import import_coremltools
from zoo.export.towers import unit_length
from zoo.models.image_text_model import ImageTextModel
from zoo.models.preprocess import OPENAI_MEAN, OPENAI_STD, Preprocessing

MakeModel = Callable[[str], ImageTextModel]


def spec_of(package: Path) -> Any:
    return import_coremltools().models.MLModel(str(package), skip_model_load=True).get_spec()


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(f.relative_to(folder)): f.read_bytes() for f in folder.rglob("*") if f.is_file()}


def test_report_gives_agreement_size_ops_and_seconds(tiny_export: ExportReport) -> None:
    for tower in tiny_export.parts.values():
        check = tower.verification
        assert check.precision == "float16"
        assert 0 < check.relative_l2 < 5e-3
        assert check.cosine > 0.9999
        assert check.max_abs < 5e-3
        assert 1 < check.largest_activation < 65504
        assert tower.bytes == sum(len(content) for content in files_of(tower.package).values())
        assert tower.op_histogram == load_package(tower.package).op_histogram
        assert tower.conversion_seconds > 0
    assert tiny_export.parts["image"].op_histogram["conv"] > 20
    assert tiny_export.parts["text"].verification.table_relative_l2 > 0


def test_report_is_one_line_of_json_that_says_what_was_not_run(tiny_export: ExportReport) -> None:
    record = json.loads(json.dumps(tiny_export.to_record()))
    assert record["model"] == "mobileclip-tiny"
    assert record["parts"]["image"]["package"].endswith(IMAGE_PACKAGE)
    assert "nothing was run inside Apple's Core ML runtime" in record["executed_by"]


def test_image_package_takes_the_pixels_of_a_picture(
    tiny_export: ExportReport, tiny_model: ImageTextModel
) -> None:
    picture = Image.radial_gradient("L").resize((64, 64))
    picture = Image.merge("RGB", (picture, picture.rotate(90), picture.rotate(180)))
    pixels = torch.tensor(list(picture.tobytes())).view(1, 64, 64, 3).permute(0, 3, 1, 2).float()
    run = load_package(tiny_export.parts["image"].package).run({"image": pixels})
    with torch.no_grad():
        expected = tiny_model.encode_image(tiny_model.preprocess(picture)[None], normalize=True)
    torch.testing.assert_close(run.outputs["image_features"], expected, rtol=0, atol=3e-3)


def test_text_package_takes_the_tokens_of_the_tokenizer(
    tiny_export: ExportReport, tiny_model: ImageTextModel
) -> None:
    tokens = tiny_model.tokenize("a small red circle left of a large blue square")
    run = load_package(tiny_export.parts["text"].package).run({"text": tokens.int()})
    with torch.no_grad():
        expected = tiny_model.encode_text(tokens, normalize=True)
    torch.testing.assert_close(run.outputs["text_features"], expected, rtol=0, atol=3e-3)


def test_app_sees_a_picture_input_int32_tokens_and_float32_features(
    tiny_export: ExportReport,
) -> None:
    image = spec_of(tiny_export.parts["image"].package).description
    text = spec_of(tiny_export.parts["text"].package).description
    picture, tokens = image.input[0], text.input[0]
    assert (picture.name, tokens.name) == ("image", "text")
    assert (picture.type.imageType.width, picture.type.imageType.height) == (64, 64)
    assert picture.type.imageType.ColorSpace.Name(picture.type.imageType.colorSpace) == "RGB"
    assert list(tokens.type.multiArrayType.shape) == [1, 32]
    for array, dtype in [
        (tokens, "INT32"),
        (image.output[0], "FLOAT32"),
        (text.output[0], "FLOAT32"),
    ]:
        array = array.type.multiArrayType
        assert array.ArrayDataType.Name(array.dataType) == dtype
    assert (image.output[0].name, text.output[0].name) == ("image_features", "text_features")
    assert list(text.output[0].type.multiArrayType.shape) == [1, 128]


def test_metadata_names_model_licence_and_figures(tiny_export: ExportReport) -> None:
    metadata = spec_of(tiny_export.parts["image"].package).description.metadata
    figures = dict(metadata.userDefined)
    assert "Apache-2.0" in metadata.license
    assert "mobileclip-tiny" in metadata.shortDescription
    assert metadata.author
    assert metadata.versionString
    assert figures["zoo.model"] == "mobileclip-tiny"
    assert figures["zoo.weights_sha256"] == tiny_export.weights_sha256
    assert figures["zoo.embed_dim"] == "128"
    assert figures["zoo.image_size"] == "64"
    assert float(figures["zoo.logit_scale"]) == pytest.approx(1 / 0.07)
    assert figures["zoo.unit_length_features"] == "True"


def test_normalisation_is_inside_a_float32_package(make_model: MakeModel, tmp_path: Path) -> None:
    plain = make_model("mobileclip-tiny")
    preprocessing = Preprocessing(image_size=64, mean=OPENAI_MEAN, std=OPENAI_STD)
    model = ImageTextModel(plain.card, plain.image_encoder, plain.text_encoder, preprocessing)
    report = export_coreml(model, tmp_path, precision="float32")
    assert report.parts["image"].verification.precision == "float32"
    assert report.parts["image"].verification.relative_l2 < 1e-5
    assert report.parts["text"].verification.relative_l2 < 1e-5
    pixels = torch.arange(3 * 64 * 64).remainder(256).float().view(1, 3, 64, 64)
    run = load_package(report.parts["image"].package).run({"image": pixels})
    with torch.no_grad():
        raw = model.encode_image(pixels / 255, normalize=True)
        normalised = model.encode_image(preprocessing.normalize(pixels / 255), normalize=True)
    torch.testing.assert_close(run.outputs["image_features"], normalised, rtol=0, atol=1e-5)
    assert (raw - normalised).abs().max() > 1e-2


@pytest.fixture
def older_export(tmp_path: Path) -> Path:
    """A folder with what stands for two older packages."""
    for name in (IMAGE_PACKAGE, TEXT_PACKAGE):
        (tmp_path / name).mkdir()
        (tmp_path / name / "old").write_text("older export")
    return tmp_path


def test_values_beyond_float16_are_refused_and_older_packages_stay(
    make_model: MakeModel, older_export: Path
) -> None:
    before = files_of(older_export)
    model = make_model("mobileclip-tiny")
    layer = model.text_encoder.get_submodule("blocks.1.mlp.fc1")
    layer.weight.data *= 1e5  # pyright: ignore[reportOperatorIssue, reportCallIssue]
    with pytest.raises(ValueError, match=r"text_encoder.*range of float16.*precision=\"float32\""):
        export_coreml(model, older_export)
    assert files_of(older_export) == before
    assert sorted(path.name for path in older_export.iterdir()) == [IMAGE_PACKAGE, TEXT_PACKAGE]


def test_export_replaces_older_packages_leaves_the_model_alone_and_says_nothing(
    make_model: MakeModel,
    older_export: Path,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    recwarn: pytest.WarningsRecorder,
) -> None:
    model = make_model("mobileclip-tiny").train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    export_coreml(model, older_export)
    after = model.state_dict()
    assert model.training
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert sorted(path.name for path in older_export.iterdir()) == [IMAGE_PACKAGE, TEXT_PACKAGE]
    assert not any("old" in name for name in files_of(older_export))
    assert capfd.readouterr() == ("", "")
    assert not caplog.records
    # coremltools leaves its own temporary folders to the garbage collector.
    assert {warning.category for warning in recwarn} <= {ResourceWarning}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"precision": "int8"}, "precision 'int8'; choose one of float16, float32"),
        ({"minimum_deployment_target": "iOS9"}, "'iOS9'; choose one of iOS16, iOS17, iOS18"),
    ],
)
def test_unknown_option_is_refused_before_any_work(
    options: dict[str, Any], message: str, tiny_model: ImageTextModel, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=message):
        export_coreml(tiny_model, tmp_path / "packages", **options)
    assert not (tmp_path / "packages").exists()


def test_file_in_place_of_the_folder_is_refused(tiny_model: ImageTextModel, tmp_path: Path) -> None:
    (tmp_path / "packages").write_text("a file")
    with pytest.raises(ValueError, match="is a file; name a folder"):
        export_coreml(tiny_model, tmp_path / "packages")


def test_without_coremltools_the_install_line_is_given(
    tiny_model: ImageTextModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "coremltools", None)
    with pytest.raises(ValueError, match=r'pip install "zoo\[export\]"'):
        export_coreml(tiny_model, tmp_path)


@pytest.mark.parametrize("magnitude", [1e-6, 1.0, 1e4])
def test_unit_length_fits_float16_for_features_of_any_size(magnitude: float) -> None:
    features = torch.randn(3, 64, generator=torch.Generator().manual_seed(0)) * magnitude
    scaled = features / features.abs().amax(dim=-1, keepdim=True)
    assert scaled.square().sum(dim=-1).max() < 65504
    norms = unit_length(features).norm(dim=-1)
    torch.testing.assert_close(norms, torch.ones(3))


@pytest.mark.slow
@pytest.mark.parametrize("target", ["iOS16", "iOS18"])
def test_other_deployment_targets_agree(make_model: MakeModel, tmp_path: Path, target: Any) -> None:
    report = export_coreml(
        make_model("mobileclip-tiny"), tmp_path, minimum_deployment_target=target
    )
    expected = {"iOS16": 7, "iOS18": 9}[target]
    assert spec_of(report.parts["image"].package).specificationVersion == expected


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    ["mobileclip-s0", "mobileclip-s1", "mobileclip-b", "mobileclip2-s0", "mobileclip2-s3"],
)
def test_every_kind_of_tower_agrees(make_model: MakeModel, tmp_path: Path, name: str) -> None:
    report = export_coreml(make_model(name), tmp_path)
    assert report.parts["image"].verification.cosine > 0.9999
    assert report.parts["text"].verification.cosine > 0.9999
