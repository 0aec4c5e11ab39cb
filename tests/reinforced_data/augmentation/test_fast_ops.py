"""Every fast operation gives the pixels of Pillow's operation on the same picture.

.venv/bin/pytest tests/reinforced_data/augmentation/test_fast_ops.py
"""

from collections.abc import Iterable

import numpy as np
import pytest
from pictures import photo, picture
from PIL import Image

from zoo.reinforced_data.augmentation.fast_ops import FAST_OPS
from zoo.reinforced_data.augmentation.randaugment import RANDAUGMENT_OPS

pytest.importorskip("cv2")

NAMES = [op.name for op in RANDAUGMENT_OPS]
BLENDS = ["Color", "Sharpness"]
PICTURES = {
    "photo": photo(224, 224),
    "noise": picture(96, 96),
    "tiny": picture(5, 5),
    "one pixel": picture(1, 1),
    "dark": Image.fromarray((np.asarray(picture(64, 64)) // 9 + 3).astype("u1")),
    "one colour": Image.new("RGB", (32, 32), (17, 17, 200)),
    "two levels": Image.fromarray(np.array([[[0] * 3, [255] * 3]] * 2, "u1").repeat(20, 1)),
}


def difference(name: str, image: Image.Image, magnitude: float) -> np.ndarray:
    """Levels between the fast operation and Pillow's."""
    index = NAMES.index(name)
    pixels = np.array(image)
    fast = FAST_OPS[index](pixels, magnitude)
    assert (pixels == np.asarray(image)).all(), "the operation changed its input"
    exact = np.asarray(RANDAUGMENT_OPS[index].apply(image, magnitude))
    return np.abs(fast.astype(int) - exact)


def magnitudes(name: str, levels: Iterable[int]) -> list[float]:
    """What a record stores at RandAugment's `levels`, 0…30, with either sign."""
    op = RANDAUGMENT_OPS[NAMES.index(name)]
    strengths = [float(np.float32(op.strength(level / 30))) for level in levels]
    return strengths + [-strength for strength in strengths if op.signed]


@pytest.mark.parametrize("image", PICTURES.values(), ids=PICTURES)
@pytest.mark.parametrize("name", NAMES)
def test_pixels_equal_pillows_at_mobileclips_strength(name: str, image: Image.Image) -> None:
    for magnitude in magnitudes(name, [9]):
        assert not difference(name, image, magnitude).any()


@pytest.mark.parametrize("image", PICTURES.values(), ids=PICTURES)
@pytest.mark.parametrize("name", [name for name in NAMES if name not in BLENDS])
def test_pixels_equal_pillows_at_every_strength(name: str, image: Image.Image) -> None:
    for magnitude in magnitudes(name, range(0, 31, 3)):
        assert not difference(name, image, magnitude).any(), magnitude


@pytest.mark.parametrize("image", [PICTURES["photo"], PICTURES["noise"]], ids=["photo", "noise"])
@pytest.mark.parametrize("name", BLENDS)
def test_blends_are_hardly_ever_one_level_off(name: str, image: Image.Image) -> None:
    arbitrary = np.random.default_rng(0).uniform(-1, 1, 20)
    for given, share in ((magnitudes(name, range(31)), 0.005), (arbitrary, 0.04)):
        for magnitude in given:
            levels = difference(name, image, float(magnitude))
            assert levels.max() <= 1 and levels.mean() < share, magnitude


@pytest.mark.parametrize("name", ["TranslateX", "TranslateY", "Rotate"])
def test_movements_beyond_the_edge_leave_black(name: str) -> None:
    for magnitude in (1.0, -1.0, 3.0, -3.0, 0.999):
        assert not difference(name, picture(64, 64), magnitude).any()
