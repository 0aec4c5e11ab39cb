"""Any open_clip model is a teacher with its own pixels, activation and weights, never random ones.

.venv/bin/pytest tests/reinforced_data/engine/test_open_clip_models.py
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from open_clip.pretrained import _PRETRAINED
from PIL import Image
from tiny_open_clip import KINDS, save_open_clip
from tiny_shards import jpeg
from torch.nn import functional as F

from zoo.models.preprocess import OPENAI_MEAN, open_image
from zoo.reinforced_data.engine.open_clip_models import load_open_clip, published_preprocessing
from zoo.reinforced_data.engine.teachers import load_teacher

HALF = {"mean": [0.5] * 3, "std": [0.5] * 3}
CASES: list[tuple[str, dict[str, Any]]] = [
    ("vit", {}),
    ("vit", {"resize_mode": "longest", "fill_color": 7, "interpolation": "bilinear"}),
    ("resnet", {"mean": [0.485, 0.456, 0.406], "interpolation": "bilinear"}),
    ("siglip", {**HALF, "resize_mode": "squash"}),
    ("coca", {**HALF, "resize_mode": "longest", "interpolation": "random"}),
]


def pictures(size: int) -> list[Image.Image]:
    noise = Image.effect_noise((211, 97), 80).convert("RGB")
    sides = [(size, size), (3 * size, size), (33, 170), (170, 33), (17, 9), (size + 1, size)]
    return [open_image(jpeg(0)), open_image(jpeg(1)), *(noise.resize(side) for side in sides)]


@pytest.mark.parametrize(("kind", "preprocessing"), CASES)
def test_embeddings_equal_those_of_open_clips_own_transform(
    kind: str, preprocessing: dict[str, Any], tmp_path: Path
) -> None:
    name = save_open_clip(tmp_path / kind, kind, preprocessing)
    teacher = load_teacher(f"open_clip:{name}")
    own: Any = open_clip.create_model_from_pretrained(name)
    model, transform = own
    images = pictures(teacher.image_size)
    with torch.no_grad():
        views = torch.stack([transform(image) for image in images])
        expected = F.normalize(model.eval().encode_image(views), dim=-1)
        tokens = open_clip.get_tokenizer(name)(["a cat", ""])
        texts = F.normalize(model.encode_text(tokens), dim=-1)
    loaded = load_open_clip(name, None)
    pixels = torch.stack([loaded.preparation(image) for image in images])
    assert (loaded.normalize(pixels) - views).abs().max() < 1e-6
    assert np.abs(teacher.encode_images(images) - expected.numpy()).max() < 1e-6
    assert np.abs(teacher.encode_texts(["a cat", ""]) - texts.numpy()).max() < 1e-6
    assert teacher.embed_dim == KINDS[kind]["embed_dim"]
    assert teacher.pretrained.startswith(f"{kind} sha256:")


def test_a_very_long_picture_is_kept_inside_its_square(tmp_path: Path) -> None:
    name = save_open_clip(tmp_path / "vit", "vit", {"resize_mode": "longest"})
    pixels = load_open_clip(name, None).preparation(Image.new("RGB", (1000, 2), "white"))
    assert pixels.float().mean() == pytest.approx(255 / 40)  # one row of forty


@pytest.fixture
def architecture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, Path]:
    """A tiny architecture that open_clip knows, with a weights file and a tag `squashed`."""
    save_open_clip(tmp_path / "vit", "vit")
    (tmp_path / "tiny-vit.json").write_text(json.dumps(KINDS["vit"]))
    open_clip.add_model_config(tmp_path / "tiny-vit.json")
    weights = tmp_path / "vit" / "open_clip_model.safetensors"
    tag = {"file": str(weights), **HALF, "resize_mode": "squash", "quick_gelu": True}
    monkeypatch.setitem(_PRETRAINED, "tiny-vit", {"squashed": tag})
    return "tiny-vit", weights


def test_a_file_is_prepared_for_like_the_published_weights(architecture: tuple[str, Path]) -> None:
    name, weights = architecture
    tagged, from_file = load_open_clip(name, "squashed"), load_open_clip(name, str(weights))
    pixels = torch.arange(256, dtype=torch.uint8).repeat(3, 4, 1)
    assert from_file.preparation == tagged.preparation
    assert from_file.preparation.resize_mode == "squash"
    assert torch.equal(from_file.normalize(pixels), tagged.normalize(pixels))
    assert tagged.pretrained == "squashed"
    assert from_file.pretrained.startswith("open_clip_model.safetensors sha256:")


def test_a_tag_that_asks_for_quickgelu_gets_it(architecture: tuple[str, Path]) -> None:
    name, weights = architecture
    pixels = torch.randn(2, 3, 40, 40, generator=torch.Generator().manual_seed(0))
    expected: Any = open_clip.create_model(name, "squashed", force_quick_gelu=True).eval()
    with torch.no_grad():
        quick = expected.encode_image(pixels)
        tagged = load_open_clip(name, "squashed").model.encode_image(pixels)
        plain = load_open_clip(name, str(weights)).model.encode_image(pixels)
    assert torch.equal(tagged, quick)
    assert not torch.allclose(plain, quick, atol=1e-4)


def test_published_preprocessing_is_that_of_all_tags_or_an_error() -> None:
    assert published_preprocessing("ViT-B-16-SigLIP") == {
        "mean": (0.5, 0.5, 0.5),
        "std": (0.5, 0.5, 0.5),
        "interpolation": "bicubic",
        "resize_mode": "squash",
    }
    assert published_preprocessing("MobileCLIP2-S0")["mean"] == (0.0, 0.0, 0.0)
    assert published_preprocessing("coca_base")["mean"] == OPENAI_MEAN
    with pytest.raises(ValueError, match=r"ViT-H-14 differ .* open_clip:local-dir:FOLDER"):
        published_preprocessing("ViT-H-14")


def test_weights_that_are_absent_or_do_not_fit_are_an_error_not_a_random_model(
    tmp_path: Path,
) -> None:
    save_open_clip(tmp_path / "vit", "vit")
    save_open_clip(tmp_path / "siglip", "siglip")
    (tmp_path / "siglip" / "open_clip_model.safetensors").rename(
        tmp_path / "vit" / "open_clip_model.safetensors"
    )
    with pytest.raises(ValueError, match="siglip' does not fit open_clip's local-dir"):
        load_teacher(f"open_clip:local-dir:{tmp_path / 'siglip'}")
    with pytest.raises(ValueError, match="vit' does not fit open_clip's local-dir"):
        load_teacher(f"open_clip:local-dir:{tmp_path / 'vit'}")
    with pytest.raises(FileNotFoundError, match="open_clip cannot get local-dir:/no/folder"):
        load_teacher("open_clip:local-dir:/no/folder")


def test_a_model_that_looks_at_oblong_pictures_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vision = KINDS["vit"]["vision_cfg"] | {"image_size": [40, 48]}
    monkeypatch.setitem(KINDS, "oblong", KINDS["vit"] | {"vision_cfg": vision})
    name = save_open_clip(tmp_path / "oblong", "oblong")
    with pytest.raises(ValueError, match="looks at 48 x 40 pixels"):
        load_teacher(f"open_clip:{name}")
