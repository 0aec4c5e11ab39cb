"""AnyRes cuts the tiles that LLaVA cuts, and the count is known before a picture is opened.

.venv/bin/pytest tests/models/fastvlm/test_views.py
"""

from __future__ import annotations

import math
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.helpers.pictures import photo
from zoo.models.fastvlm.views import Views
from zoo.models.preprocess import OPENAI_MEAN, OPENAI_STD, Preprocessing

SIZE = 32
PAD = Preprocessing(image_size=SIZE, interpolation="bicubic", aspect="pad")
LLAVA_GRIDS = ((2, 2), (1, 2), (2, 1), (3, 1), (1, 3))
ANYRES = Views(preprocessing=PAD, grids=LLAVA_GRIDS)
PICTURES = [(300, 100), (100, 300), (64, 64), (33, 31), (20, 9), (200, 90), (1, 900), (97, 64)]


def llavas_grid(width: int, height: int) -> tuple[int, int]:
    """`select_best_resolution`, worked out in fractions by sorting instead of by a running best."""

    def rank(place: int) -> tuple[int, int, int]:
        columns, rows = (SIZE * tiles for tiles in LLAVA_GRIDS[place])
        scale = min(Fraction(columns, width), Fraction(rows, height))
        kept = min(math.floor(width * scale) * math.floor(height * scale), width * height)
        return -kept, columns * rows - kept, place

    return LLAVA_GRIDS[min(range(len(LLAVA_GRIDS)), key=rank)]


@pytest.mark.parametrize("size", PICTURES)
def test_the_grid_is_llavas(size: tuple[int, int]) -> None:
    assert ANYRES.best_grid(*size) == llavas_grid(*size)


def test_the_grid_is_that_of_transformers_llava_next() -> None:
    from transformers.image_processing_utils import select_best_resolution

    pinpoints = [[rows * SIZE, columns * SIZE] for columns, rows in LLAVA_GRIDS]
    rng = np.random.default_rng(0)
    for width, height in np.exp(rng.uniform(0, 7, (300, 2))).astype(int).tolist():
        rows, columns = select_best_resolution((height, width), pinpoints)
        assert ANYRES.best_grid(width, height) == (columns // SIZE, rows // SIZE), (width, height)


@pytest.mark.parametrize("size", PICTURES)
def test_tiles_side_by_side_are_the_picture_fitted_and_padded(size: tuple[int, int]) -> None:
    image = photo(*size)
    whole, *tiles = ANYRES.pixels(image)
    columns, rows = ANYRES.best_grid(*size)
    canvas = torch.cat(
        [torch.cat(tiles[row * columns : (row + 1) * columns], dim=2) for row in range(rows)], dim=1
    )
    scale = min(Fraction(columns * SIZE, size[0]), Fraction(rows * SIZE, size[1]))
    width, height = math.ceil(size[0] * scale), math.ceil(size[1] * scale)
    left, top = (columns * SIZE - width) // 2, (rows * SIZE - height) // 2
    fitted = image.resize((width, height), Image.Resampling.BICUBIC)
    expected = np.zeros((rows * SIZE, columns * SIZE, 3), dtype=np.uint8)
    expected[top : top + height, left : left + width] = np.asarray(fitted)
    np.testing.assert_array_equal(canvas.permute(1, 2, 0), expected)
    squashed = image.resize((SIZE, SIZE), Image.Resampling.BICUBIC)
    np.testing.assert_array_equal(whole.permute(1, 2, 0), np.asarray(squashed))


@pytest.mark.parametrize("views", [ANYRES, Views(preprocessing=PAD)])
@pytest.mark.parametrize("size", PICTURES)
def test_the_count_is_that_of_the_views(views: Views, size: tuple[int, int]) -> None:
    pixels = views.pixels(Image.new("RGB", size))
    assert pixels.dtype == torch.uint8
    assert pixels.shape == (views.count(*size), 3, SIZE, SIZE)


def test_the_papers_grid_gives_five_views() -> None:
    """Table 10: five encodings, 1280 tokens at 1024 pixels."""
    views = Views(preprocessing=PAD, grids=((2, 2),))
    assert {views.count(*size) for size in PICTURES} == {5}


def test_without_grids_a_picture_is_the_one_that_preprocessing_makes() -> None:
    image, views = photo(90, 40), Views(preprocessing=PAD)
    assert torch.equal(views(image), PAD(image)[None])
    tensor = torch.rand(3, 40, 90)
    assert torch.equal(views(tensor), PAD(tensor)[None])


def test_views_are_upright_and_normalised(tmp_path: Path) -> None:
    preprocessing = Preprocessing(image_size=SIZE, aspect="pad", mean=OPENAI_MEAN, std=OPENAI_STD)
    views = Views(preprocessing=preprocessing, grids=LLAVA_GRIDS)
    upright, exif = photo(60, 120), Image.Exif()
    exif[0x0112] = 6  # turn by 90° clockwise to stand upright
    upright.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "turned.png", exif=exif)
    expected = preprocessing.normalize(views.pixels(upright))
    assert expected.shape[0] == 3
    assert torch.equal(views(tmp_path / "turned.png"), expected)


def test_tiles_of_a_tensor_and_empty_grids_are_refused() -> None:
    with pytest.raises(ValueError, match="pass a file or a PIL image"):
        ANYRES(torch.zeros(3, 40, 90))
    with pytest.raises(ValueError, match=r"\(0, 2\) is not \(columns, rows\)"):
        Views(preprocessing=PAD, grids=((0, 2),))
