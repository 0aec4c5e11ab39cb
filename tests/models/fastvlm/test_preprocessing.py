"""FastVLM sees the whole picture, padded to a square; cropped only where asked.

.venv/bin/pytest tests/models/fastvlm/test_preprocessing.py
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import transformers
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from tests.helpers.pictures import photo
from zoo.models.fastvlm.cards import CARDS
from zoo.models.preprocess import OPENAI_MEAN, OPENAI_STD, Preprocessing

SIZE = 64
PAD = Preprocessing(image_size=SIZE, interpolation="bicubic", aspect="pad")
CROP = Preprocessing(image_size=SIZE, interpolation="bicubic", aspect="crop")

SIZES = [(200, 64), (64, 200), (340, 224), (150, 201), (64, 65), (63, 64), (5, 3), (1, 2), (64, 64)]
EXTREMES = [(1500, 90), (90, 1500), (2000, 7), (7, 2000), (40, 9), (1, 300)]


def noise(width: int, height: int) -> Image.Image:
    values = np.random.default_rng(width + height).integers(0, 256, (height, width, 3))
    return Image.fromarray(values.astype(np.uint8))


def clip_pixels(image: Image.Image) -> Tensor:
    """transformers' CLIPImageProcessor as the original configures it: Pillow's pixels."""
    kind: Any = getattr(transformers, "CLIPImageProcessorPil", transformers.CLIPImageProcessor)
    processor = kind(
        size={"shortest_edge": SIZE},
        crop_size={"height": SIZE, "width": SIZE},
        image_mean=[0.0, 0.0, 0.0],
        image_std=[1.0, 1.0, 1.0],
        resample=Image.Resampling.BICUBIC,
    )
    return torch.as_tensor(np.asarray(processor(image, return_tensors="np")["pixel_values"][0]))


def on_square(image: Image.Image, colour: tuple[int, int, int] = (0, 0, 0)) -> Image.Image:
    """The picture in the middle of a square, pixel by pixel: the definition."""
    side = max(image.size)
    square = np.empty((side, side, 3), dtype=np.uint8)
    square[:] = colour
    left, top = (side - image.width) // 2, (side - image.height) // 2
    square[top : top + image.height, left : left + image.width] = np.asarray(image)
    return Image.fromarray(square)


@pytest.mark.parametrize("size", SIZES)
def test_padding_equals_the_original_pixel_for_pixel(size: tuple[int, int]) -> None:
    image = noise(*size)
    torch.testing.assert_close(PAD(image), clip_pixels(on_square(image)), rtol=0, atol=1e-6)


@pytest.mark.parametrize("size", EXTREMES)
def test_padding_of_long_pictures_differs_by_one_level_at_most(size: tuple[int, int]) -> None:
    image = noise(*size)
    difference = (PAD(image) - clip_pixels(on_square(image))).abs()
    assert difference.max() < 1.01 / 255


@pytest.mark.parametrize("size", [*SIZES, *EXTREMES[:2]])
def test_crop_equals_the_processor_of_transformers(size: tuple[int, int]) -> None:
    image = noise(*size)
    torch.testing.assert_close(CROP(image), clip_pixels(image), rtol=0, atol=1e-6)


@pytest.mark.parametrize("size", [(67, 64), (64, 71)])
def test_crop_of_three_or_seven_pixels_is_torchvisions_one_pixel_further(
    size: tuple[int, int],
) -> None:
    image = noise(*size)
    shift = size[0] > SIZE, size[1] > SIZE
    moved = image.crop((shift[0], shift[1], image.width, image.height))
    torch.testing.assert_close(CROP(image), clip_pixels(moved), rtol=0, atol=1e-6)


@pytest.mark.parametrize("aspect", ["pad", "crop"])
@pytest.mark.parametrize("size", [(201, 64), (150, 333), (100, 100), (40, 30), (30, 41)])
def test_a_tensor_gives_the_picture(aspect: Any, size: tuple[int, int]) -> None:
    preprocessing = Preprocessing(image_size=SIZE, interpolation="bicubic", aspect=aspect)
    image = photo(*size)
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)
    assert (preprocessing(pixels) - preprocessing(image)).abs().max() < 2.5 / 255


def test_padding_is_the_mean_colour_and_black_without_one() -> None:
    image = Image.new("RGB", (40, 10), "white")
    openai = Preprocessing(image_size=SIZE, aspect="pad", mean=OPENAI_MEAN, std=OPENAI_STD)
    mean_colour = torch.tensor([int(255 * value) for value in OPENAI_MEAN]) / 255
    expected = openai.normalize(mean_colour.view(3, 1, 1)).flatten()
    torch.testing.assert_close(openai(image)[:, 0, 0], expected)
    assert PAD(image)[:, 0].eq(0).all()
    assert PAD(image)[:, SIZE // 2].eq(1).all()
    tensor = openai(torch.ones(3, 10, 40))
    assert tensor[:, 0, 0].abs().max() < 1e-6


@pytest.mark.parametrize("size", [(10_000, 10), (10, 10_000), (400_000, 3), (3, 400_000)])
@pytest.mark.parametrize("aspect", ["pad", "crop"])
def test_long_pictures_take_little_memory(aspect: Any, size: tuple[int, int]) -> None:
    """Padded to a square they would be 300 MB and 480 GB."""
    preprocessing = Preprocessing(image_size=256, interpolation="bicubic", aspect=aspect)
    largest = 0

    def counting(self: Image.Image, wanted: tuple[int, int], *args: Any, **options: Any) -> Any:
        nonlocal largest
        largest = max(largest, self.width * self.height, wanted[0] * wanted[1])
        return resize(self, wanted, *args, **options)

    resize = Image.Image.resize
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Image.Image, "resize", counting)
        assert preprocessing(Image.new("RGB", size, "red")).shape == (3, 256, 256)
    assert largest < 5e6


@pytest.mark.parametrize("size", [(5, 700), (700, 5), (30, 20), (90, 90)])
def test_a_tensor_is_padded_as_if_in_one_go(size: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(3, *size, generator=generator)
    side, (top, left) = max(size), [(max(size) - length) // 2 for length in size]
    square = torch.zeros(3, side, side)
    square[:, top : top + size[0], left : left + size[1]] = image
    resized = F.interpolate(square[None], (SIZE, SIZE), mode="bicubic", antialias=True)[0]
    torch.testing.assert_close(PAD(image), resized.clamp(0, 1), rtol=0, atol=1e-5)


def test_every_card_of_the_family_pads_and_does_not_normalise() -> None:
    """Reference §0.4: two of the four official paths crop; training padded."""
    for card in CARDS:
        preprocessing = card.preprocessing
        assert preprocessing.aspect == "pad", card.name
        assert preprocessing.interpolation == "bicubic", card.name
        assert (preprocessing.mean, preprocessing.std) == ((0,) * 3, (1,) * 3), card.name
