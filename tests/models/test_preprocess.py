"""Pictures of every kind become the tensor that the towers were trained on.

.venv/bin/pytest tests/models/test_preprocess.py
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from open_clip.transform import image_transform
from PIL import Image

from zoo.models.card import ImageTextCard
from zoo.models.mobileclip.cards import CARDS as MOBILECLIP
from zoo.models.preprocess import OPENAI_MEAN, OPENAI_STD, Preprocessing, open_image
from zoo.models.tokenizer import Tokenizer

CARDS = {card.name: card for card in MOBILECLIP}
PREPROCESSING = Preprocessing(image_size=32)


def noise_image(width: int, height: int) -> Image.Image:
    values = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(values)


@pytest.mark.parametrize("card", CARDS.values(), ids=CARDS.keys())
@pytest.mark.parametrize("size", [(301, 207), (97, 411), (256, 256), (333, 224), (61, 60)])
def test_pixels_equal_open_clips(card: ImageTextCard, size: tuple[int, int]) -> None:
    preprocessing = card.preprocessing
    reference = image_transform(
        preprocessing.image_size,
        is_train=False,
        mean=preprocessing.mean,
        std=preprocessing.std,
        interpolation=preprocessing.interpolation,
        resize_mode="shortest",
    )
    image = noise_image(*size)
    expected = reference(image)  # pyright: ignore[reportCallIssue]
    assert torch.allclose(preprocessing(image), torch.as_tensor(expected), atol=1e-7)


def test_preprocessing_of_each_release_is_what_it_was_trained_with() -> None:
    """Reference §1.5: mean, deviation and interpolation differ inside one family."""
    openai = {
        "mobileclip-s3": "bilinear",
        "mobileclip-s4": "bilinear",
        "mobileclip-l-14": "bicubic",
        "mobileclip2-s3": "bilinear",
        "mobileclip2-s4": "bilinear",
        "mobileclip2-l-14": "bicubic",
    }
    for name, card in CARDS.items():
        preprocessing = card.preprocessing
        if name in openai:
            assert (preprocessing.mean, preprocessing.std) == (OPENAI_MEAN, OPENAI_STD), name
        else:
            assert (preprocessing.mean, preprocessing.std) == ((0,) * 3, (1,) * 3), name
        assert preprocessing.interpolation == openai.get(name, "bilinear"), name


@pytest.mark.parametrize("name", ["MobileCLIP-S1", "MobileCLIP-B", "MobileCLIP2-S0"])
def test_preprocessing_equals_open_clips_own_record(name: str) -> None:
    tag = open_clip.list_pretrained_tags_by_model(name)[0]
    record = open_clip.get_pretrained_cfg(name, tag)
    card = CARDS[name.lower()]
    assert tuple(record["mean"]) == card.preprocessing.mean
    assert record["interpolation"] == card.preprocessing.interpolation


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "CMYK", "1", "YCbCr", "HSV", "F"])
def test_any_mode_becomes_three_channels(mode: str) -> None:
    tensor = PREPROCESSING(noise_image(40, 50).convert(mode))
    assert tensor.shape == (3, 32, 32)
    assert tensor.min() >= 0
    assert tensor.max() <= 1


def test_a_palette_with_transparency_keeps_its_colours() -> None:
    image = Image.new("P", (40, 40), 1)
    image.putpalette([0, 0, 0, 200, 100, 50])
    image.info["transparency"] = 0
    assert open_image(image).getpixel((3, 3)) == (200, 100, 50)


def test_sixteen_bits_are_scaled_not_clipped() -> None:
    values = np.full((40, 40), 0x8000, dtype=np.uint16)
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, format="PNG")
    tensor = PREPROCESSING(buffer.getvalue())
    assert tensor.unique().tolist() == pytest.approx([128 / 255])


def test_the_exif_orientation_is_applied(tmp_path: Path) -> None:
    image = Image.new("RGB", (60, 30), "black")
    image.paste("white", (0, 0, 30, 30))
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90° clockwise to stand upright
    image.save(tmp_path / "turned.png", exif=exif)
    upright = open_image(tmp_path / "turned.png")
    assert upright.size == (30, 60)
    assert upright.getpixel((15, 5)) == (255, 255, 255)
    assert upright.getpixel((15, 55)) == (0, 0, 0)


def test_tensors_and_paths_give_the_same_picture(tmp_path: Path) -> None:
    image = noise_image(32, 32)
    image.save(tmp_path / "a.png")
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)
    expected = PREPROCESSING(image)
    assert torch.equal(PREPROCESSING(tmp_path / "a.png"), expected)
    assert torch.equal(PREPROCESSING(pixels), expected)
    assert torch.equal(PREPROCESSING(pixels.float() / 255), expected)


def test_a_resized_tensor_is_close_to_the_resized_picture() -> None:
    image = noise_image(80, 61)
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)
    assert (PREPROCESSING(pixels) - PREPROCESSING(image)).abs().max() < 1.5 / 255


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "zero bytes"),
        (b"hello", "is not an image that can be read"),
        ("truncated", "cannot be decoded"),
    ],
)
def test_what_is_no_picture_is_named(content: bytes | str, message: str, tmp_path: Path) -> None:
    if isinstance(content, str):
        buffer = io.BytesIO()
        noise_image(64, 64).save(buffer, format="JPEG")
        content = buffer.getvalue()[:500]
    (tmp_path / "photo.jpg").write_bytes(content)
    with pytest.raises(ValueError, match=message) as error:
        PREPROCESSING(tmp_path / "photo.jpg")
    assert "photo.jpg" in str(error.value)


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_damaged_pictures_never_raise_anything_but_value_errors() -> None:
    generator = np.random.default_rng(0)
    for image_format in ("PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP"):
        buffer = io.BytesIO()
        noise_image(24, 24).save(buffer, format=image_format)
        for _ in range(60):
            data = bytearray(buffer.getvalue()[: generator.integers(1, len(buffer.getvalue()) + 1)])
            for place in generator.integers(0, len(data), 3):
                data[place] ^= int(generator.integers(1, 256))
            try:
                PREPROCESSING(bytes(data))
            except ValueError as error:
                assert str(error).endswith(".")


def test_another_interpolation_is_refused() -> None:
    with pytest.raises(ValueError, match="interpolation is 'random'; give bilinear or bicubic"):
        Preprocessing(image_size=32, interpolation="random")  # pyright: ignore[reportArgumentType]


def test_missing_files_and_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="No image at"):
        PREPROCESSING(tmp_path / "absent.jpg")
    with pytest.raises(ValueError, match="is a folder"):
        PREPROCESSING(tmp_path)


@pytest.mark.parametrize("tensor", [torch.zeros(32, 32), torch.zeros(1, 3, 32, 32)])
def test_tensors_of_another_shape_are_refused(tensor: torch.Tensor) -> None:
    with pytest.raises(ValueError, match=r"shape \(3, H, W\)"):
        PREPROCESSING(tensor)
    with pytest.raises(ValueError, match="uint8"):
        PREPROCESSING(torch.zeros(3, 32, 32, dtype=torch.int64))


TEXTS = [
    "a photo of a dog",
    "Ünïcödé & emoji 🐕 — “quotes” 日本語",
    "",
    "don't  stop\n\tnow",
    "x" * 900,
    "the cat sat on the mat " * 40,
]


def test_tokens_equal_open_clips() -> None:
    expected = open_clip.get_tokenizer("MobileCLIP2-S0")(TEXTS)
    assert torch.equal(Tokenizer()(TEXTS), expected)


def test_a_long_text_keeps_its_end_token() -> None:
    tokens = Tokenizer(context_length=16)("the cat sat on the mat " * 9)
    assert tokens.shape == (1, 16)
    assert tokens[0, -1] == tokens.max() == 49407


def test_a_cut_vocabulary_tokenizes_everything_within_its_size() -> None:
    tokenizer = Tokenizer(context_length=32, vocab_size=2048)
    tokens = tokenizer(TEXTS)
    assert tokens.max() == 2047
    assert (tokens == 2047).sum(-1).tolist() == [1] * len(TEXTS)
    assert tokenizer.decode(tokenizer("a red circle left of it")[0]) == "a red circle left of it"


def test_an_empty_list_and_non_texts_are_refused() -> None:
    with pytest.raises(ValueError, match="list of texts is empty"):
        Tokenizer()([])
    with pytest.raises(ValueError, match="3 is int"):
        Tokenizer()(["a", 3])  # pyright: ignore[reportArgumentType]
