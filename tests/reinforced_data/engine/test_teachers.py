"""Teachers are frozen, prepare pictures without their model, and embed as their models do.

.venv/bin/pytest tests/reinforced_data/engine/test_teachers.py
"""

import pickle
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from zoo.models.checkpoint import save_weights
from zoo.models.load import load_model
from zoo.reinforced_data.engine.teachers import (
    Teacher,
    load_teacher,
    parse_teacher_spec,
    zoo_teacher,
)

SIZES = [(90, 70), (64, 131), (200, 33), (64, 64), (20, 20)]


def test_a_teacher_stays_in_eval_mode_without_gradients(teacher: Teacher) -> None:
    teacher.train()
    assert not any(module.training for module in teacher.modules())
    assert not any(parameter.requires_grad for parameter in teacher.parameters())


def test_a_teachers_embeddings_are_its_models_own_scaled_to_length_one(teacher: Teacher) -> None:
    model = load_model("mobileclip-tiny", weights=None)
    by_hand = zoo_teacher("t", model, pretrained="random")
    image = Image.effect_mandelbrot((90, 70), (-2, -1, 1, 1), 50).convert("RGB")
    with torch.no_grad():
        expected = model.encode_image(model.preprocess(image)[None], normalize=True).numpy()
        text = model.encode_text(model.tokenize(["a cat"]), normalize=True).numpy()
    assert np.abs(by_hand.encode_images([image]) - expected).max() < 1e-6
    assert np.abs(by_hand.encode_texts(["a cat"]) - text).max() < 1e-6
    assert np.linalg.norm(teacher.encode_images([image] * 3), axis=1) == pytest.approx(np.ones(3))


def test_a_teacher_specification_is_read_by_its_grammar() -> None:
    assert parse_teacher_spec("zoo:mobileclip2-s0") == (
        "mobileclip2-s0",
        "zoo",
        "mobileclip2-s0",
        None,
    )
    assert parse_teacher_spec("a=zoo:b@c/d.pt") == ("a", "zoo", "b", "c/d.pt")
    assert parse_teacher_spec("open_clip:hf-hub:apple/DFN2B-CLIP-ViT-L-14") == (
        "DFN2B-CLIP-ViT-L-14",
        "open_clip",
        "hf-hub:apple/DFN2B-CLIP-ViT-L-14",
        None,
    )


@pytest.mark.parametrize("spec", ["mobileclip2-s0", "timm:vit", "zoo:", "a b=zoo:x", "=zoo:x", ""])
def test_an_unknown_specification_shows_the_grammar(spec: str) -> None:
    with pytest.raises(ValueError, match=r"write \[NAME=\]zoo:MODEL\[@WEIGHTS\] or") as error:
        load_teacher(spec)
    assert repr(spec) in str(error.value)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("open_clip:ViT-L-41@openai", "no model 'ViT-L-41'; did you mean ViT-L-1"),
        ("open_clip:ViT-B-32", "names no weights and would be random"),
        ("open_clip:hf-hub:apple/DFN2B-CLIP-ViT-L-14@openai", "has weights of its own"),
        ("zoo:mobileclip-huge", "mobileclip-huge"),
    ],
)
def test_a_teacher_that_would_be_wrong_is_refused(spec: str, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        load_teacher(spec)


def test_pixels_prepared_without_the_model_give_the_same_embeddings(teacher: Teacher) -> None:
    images = [Image.effect_mandelbrot(size, (-2, -1, 1, 1), 50).convert("RGB") for size in SIZES]
    preparation = pickle.loads(pickle.dumps(teacher.preparation))
    pixels = torch.stack([preparation(image) for image in images])
    assert preparation == teacher.preparation
    assert {preparation, teacher.preparation} == {preparation}
    assert pixels.dtype == torch.uint8
    assert pixels.shape == (len(images), 3, teacher.image_size, teacher.image_size)
    assert np.array_equal(teacher.encode_pixels(pixels), teacher.encode_images(images))


def test_a_zoo_models_pixels_are_those_of_its_own_preprocessing(teacher: Teacher) -> None:
    for size in SIZES:
        image = Image.effect_noise(size, 90).convert("RGB")
        expected = teacher.model.preprocess(image)
        assert (
            np.abs(teacher.prepare(image).numpy() / np.float32(255) - expected.numpy()).max() < 1e-7
        )


def test_a_zoo_teacher_is_loaded_from_a_file_and_known_by_its_content(tmp_path: Path) -> None:
    model = load_model("mobileclip-tiny", weights=None)
    save_weights(model, tmp_path / "weights.safetensors")
    loaded = load_teacher(f"me=zoo:mobileclip-tiny@{tmp_path / 'weights.safetensors'}")
    expected = zoo_teacher("t", model, pretrained="random").encode_texts(["a cat"])
    assert loaded.name == "me"
    assert re.fullmatch(r"weights.safetensors sha256:[0-9a-f]{16}", loaded.pretrained)
    assert np.abs(loaded.encode_texts(["a cat"]) - expected).max() < 1e-6
