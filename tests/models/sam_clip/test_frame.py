"""Pictures, coordinates and masks go into SAM's square and come back as SAM takes them.

.venv/bin/pytest tests/models/sam_clip/test_frame.py
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from pictures import photo
from torchvision.transforms.functional import pil_to_tensor, resize

from zoo.models.preprocess import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from zoo.models.sam_clip.frame import Frame, open_picture, picture_size, squashed

SIDE = 96
SAMS = Preprocessing(image_size=SIDE, mean=IMAGENET_MEAN, std=IMAGENET_STD)
SIZES = [(301, 117), (75, 411), (96, 96), (40, 33)]
ONE_LEVEL = 1 / 255 / min(IMAGENET_STD)


@pytest.mark.parametrize("size", SIZES)
def test_the_square_is_that_of_transformers_but_for_a_level_of_rounding(
    size: tuple[int, int],
) -> None:
    """transformers resizes with torchvision, segment-anything with Pillow."""
    from transformers import SamImageProcessor

    processor = SamImageProcessor(
        size={"longest_edge": SIDE}, pad_size={"height": SIDE, "width": SIDE}
    )
    image = photo(*size)
    expected = processor(image, return_tensors="pt")
    frame = Frame.around(image, SIDE)
    square = frame.square(image, SAMS)
    assert frame.inner[::-1] == tuple(expected["reshaped_input_sizes"][0].tolist())
    assert torch.equal(square == 0, expected["pixel_values"][0] == 0)
    assert (square - expected["pixel_values"][0]).abs().max() <= ONE_LEVEL * 1.001


@pytest.mark.parametrize("size", SIZES[:2])
def test_pixels_equal_segment_anythings_before_they_are_normalised(size: tuple[int, int]) -> None:
    image: Any = photo(*size)
    frame = Frame.around(image, SIDE)
    width, height = frame.inner
    pixels = pil_to_tensor(resize(image, [height, width]))
    square = frame.square(image, Preprocessing(image_size=SIDE))
    assert torch.equal(square[:, :height, :width], pixels.float() / 255)


def test_a_tensor_is_the_picture_that_it_holds() -> None:
    image = photo(301, 117)
    tensor = open_picture(pil_to_tensor(image))
    assert picture_size(tensor) == image.size
    frame = Frame.around(tensor, SIDE)
    difference = frame.square(tensor, SAMS) - frame.square(image, SAMS)
    assert difference.abs().max() <= ONE_LEVEL
    assert (squashed(tensor, 64, SAMS) - squashed(image, 64, SAMS)).abs().max() <= ONE_LEVEL


def test_a_squashed_picture_shows_all_of_it_out_of_proportion() -> None:
    image = photo(301, 117)
    expected = pil_to_tensor(image.resize((64, 64), 2))  # 2: bilinear
    assert torch.equal(squashed(image, 64, Preprocessing(image_size=1)), expected.float() / 255)


def test_fractions_point_at_the_middle_of_pixels() -> None:
    frame = Frame(side=100, width=400, height=200)
    corners = frame.fractions(torch.tensor([[0, 0], [400, 200], [200, 100]]))
    expected = torch.tensor([[0.005, 0.005], [1.005, 0.505], [0.505, 0.255]])
    torch.testing.assert_close(corners, expected)


def test_a_map_over_the_square_comes_back_without_the_padding() -> None:
    frame = Frame(side=64, width=128, height=32)  # 64 x 16 in the square
    maps = torch.full((20, 16, 16), -5.0)
    maps[:, :4] = torch.arange(20.0)[:, None, None]
    maps[:, :4, 8:] = 100
    back = frame.to_picture(maps)
    assert back.shape == (20, 32, 128)
    assert torch.equal(back[:, 0, 0], torch.arange(20.0)) and (back[:, 0, -1] == 100).all()
    assert frame.covered(16, 16) == (4, 16) and frame.covered(3, 3) == (1, 3)


def test_a_thread_of_a_picture_keeps_a_pixel() -> None:
    frame = Frame.around(photo(700, 3), SIDE)
    assert frame.inner == (96, 1) and frame.covered(6, 6) == (1, 6)
    assert Frame(side=96, width=3, height=2000).inner == (1, 96)
