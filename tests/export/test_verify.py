"""A damaged package, or another model's, does not pass verification.

.venv/bin/pytest tests/export/test_verify.py
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from zoo.export.examples import example_images, example_texts
from zoo.export.mil_interpreter import load_package
from zoo.export.package_report import ExportReport
from zoo.export.toolchain import import_coremltools, quiet_conversion
from zoo.export.verify import Verification, verify_package
from zoo.export.weight_seal import PROGRAM_FILE, WEIGHT_FILE, seal_weights
from zoo.models.image_text_model import ImageTextModel

IMAGES = [(image,) for image in example_images(64)]
TEXTS = [(text,) for text in example_texts(32, 2048)]


@pytest.fixture
def image_package(tiny_export: ExportReport, tmp_path: Path) -> Path:
    """A copy of the image tower's package, to be damaged."""
    return Path(shutil.copytree(tiny_export.parts["image"].package, tmp_path / "image.mlpackage"))


@pytest.fixture
def text_package(tiny_export: ExportReport, tmp_path: Path) -> Path:
    """A copy of the text tower's package, to be damaged."""
    return Path(shutil.copytree(tiny_export.parts["text"].package, tmp_path / "text.mlpackage"))


def verify_image(package: Path, eager: ImageTextModel) -> Verification:
    def model(pixels: Tensor) -> Tensor:
        return eager.encode_image(pixels / 255, normalize=True)

    return verify_package(package, model, IMAGES)


def verify_text(package: Path, eager: ImageTextModel) -> Verification:
    def model(text: Tensor) -> Tensor:
        return eager.encode_text(text.long(), normalize=True)

    embedding = eager.text_encoder.get_submodule("token_embedding")
    assert isinstance(embedding, nn.Embedding)
    return verify_package(package, model, TEXTS, tables=[embedding.weight])


def zero(path: Path, start: int, count: int) -> None:
    content = bytearray(path.read_bytes())
    assert any(content[start : start + count])
    content[start : start + count] = bytes(count)
    path.write_bytes(content)


def test_sound_packages_pass(
    image_package: Path, text_package: Path, tiny_export: ExportReport, tiny_model: ImageTextModel
) -> None:
    assert verify_image(image_package, tiny_model) == tiny_export.parts["image"].verification
    assert verify_text(text_package, tiny_model) == tiny_export.parts["text"].verification


@pytest.mark.parametrize("place", [0.1, 0.3, 0.5, 0.7, 0.9])
def test_zeroed_bytes_of_the_weight_file_are_caught(
    image_package: Path, tiny_model: ImageTextModel, place: float
) -> None:
    weights = image_package / WEIGHT_FILE
    zero(weights, int(weights.stat().st_size * place), 8)
    with pytest.raises(ValueError, match=r"image\.mlpackage.*weight file changed"):
        verify_image(image_package, tiny_model)


def test_wrong_weights_under_a_sound_seal_are_caught(
    image_package: Path, tiny_model: ImageTextModel
) -> None:
    head = tiny_model.get_parameter("image_encoder.head.fc.weight")
    values = head.detach().half().numpy().tobytes()[:4096]
    weights = image_package / WEIGHT_FILE
    zero(weights, weights.read_bytes().index(values), len(values))
    seal_weights(image_package)
    with pytest.raises(ValueError, match="does not agree with its model"):
        verify_image(image_package, tiny_model)


def test_zeroed_token_that_no_example_uses_is_caught(
    text_package: Path, tiny_model: ImageTextModel
) -> None:
    used = torch.cat(example_texts(32, 2048)).unique().tolist()
    token = next(token for token in range(1, 2048) if token not in used)
    row = load_package(text_package).lookup_tables()[0][token].numpy()
    weights = text_package / WEIGHT_FILE
    zero(weights, weights.read_bytes().index(row.tobytes()), row.nbytes)
    seal_weights(text_package)
    with pytest.raises(ValueError, match="relative L2 error 1,"):
        verify_text(text_package, tiny_model)


def test_package_of_other_weights_is_caught(
    image_package: Path, tiny_export: ExportReport, make_model: Callable[[str], ImageTextModel]
) -> None:
    other = make_model("mobileclip-tiny")
    with torch.no_grad():
        other.get_parameter("image_encoder.head.fc.bias").add_(0.1)
    with pytest.raises(ValueError, match="another model's"):
        verify_image(image_package, other)


def test_table_of_another_shape_is_caught(text_package: Path, tiny_model: ImageTextModel) -> None:
    def model(text: Tensor) -> Tensor:
        return tiny_model.encode_text(text.long(), normalize=True)

    with pytest.raises(ValueError, match=r"no lookup table of shape \(7, 128\)"):
        verify_package(text_package, model, TEXTS, tables=[torch.ones(7, 128)])


def test_several_inputs_are_passed_in_the_order_of_the_package(tmp_path: Path) -> None:
    ct = import_coremltools()
    from coremltools.converters.mil import Builder

    mb: Any = Builder
    specs = [mb.TensorSpec(shape=(2, 3)), mb.TensorSpec(shape=(2, 3))]

    @mb.program(input_specs=specs, opset_version=ct.target.iOS18)
    def difference(later: Any, earlier: Any) -> Any:
        return mb.sub(x=later, y=earlier)

    with quiet_conversion():
        package = ct.convert(
            difference, minimum_deployment_target=ct.target.iOS18, skip_model_load=True
        )
    package.save(str(tmp_path / "difference.mlpackage"))
    example = torch.rand(2, 3), torch.rand(2, 3)
    verify_package(tmp_path / "difference.mlpackage", torch.sub, [example])
    with pytest.raises(ValueError, match="does not agree"):
        verify_package(tmp_path / "difference.mlpackage", lambda a, b: b - a, [example])


@pytest.mark.parametrize("part", [WEIGHT_FILE, PROGRAM_FILE, "Manifest.json"])
def test_truncated_or_missing_part_is_named(
    image_package: Path, tiny_model: ImageTextModel, part: str
) -> None:
    file = image_package / part
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(ValueError, match=r"image\.mlpackage.*export it again"):
        verify_image(image_package, tiny_model)
    file.unlink()
    with pytest.raises(ValueError, match=r"image\.mlpackage.*export it again"):
        verify_image(image_package, tiny_model)


def test_missing_package_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"No Core ML package at '.*gone\.mlpackage'"):
        load_package(tmp_path / "gone.mlpackage")


def test_examples_differ_in_their_features(tiny_model: ImageTextModel) -> None:
    with torch.no_grad():
        images = [tiny_model.encode_image(x / 255, True) for x in example_images(64)]
        texts = [tiny_model.encode_text(x.long(), True) for x in example_texts(32, 2048)]
    for first, second in [(images[0], images[1]), (texts[0], texts[1]), (texts[1], texts[2])]:
        assert (first - second).norm() > 0.05


def test_example_texts_end_at_different_places_and_are_padded_with_zeros() -> None:
    texts = torch.cat(example_texts(32, 2048))
    ends = texts.argmax(dim=1)
    assert (texts.amax(dim=1) == 2047).all()
    assert ends.unique().numel() == len(ends)
    assert all(not text[end + 1 :].any() for text, end in zip(texts, ends, strict=True))
