"""A mask's logits survive storage: their probabilities to half a level, and what they teach.

.venv/bin/pytest tests/reinforced_data/masks/test_mask_codec.py
"""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from zoo.reinforced_data.masks.codec import LEVELS, SATURATION, decode_mask, encode_mask

SIDE = 256


@pytest.fixture(scope="module")
def logits() -> np.ndarray:
    """A blurred disc with the texture of a SAM's upscaling: float32 (SIDE, SIDE)."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:SIDE, :SIDE]
    distance = 70 - np.hypot(x - 120, y - 140) + 8 * np.sin(np.arctan2(y - 140, x - 120) * 5)
    texture = np.tile(rng.standard_normal((4, 4)), (SIDE // 4, SIDE // 4))
    return (distance * 1.5 + 0.3 * texture + 0.1 * rng.standard_normal(x.shape)).astype(np.float32)


def decoded(content: bytes, side: int = SIDE) -> np.ndarray:
    out = np.full((side, side), np.nan, np.float16)
    decode_mask(content, out)
    return out.astype(np.float32)


def probability(logits: np.ndarray) -> np.ndarray:
    return torch.from_numpy(logits).double().sigmoid().numpy()


def test_probabilities_are_off_by_half_a_level_at_most_and_the_mask_stays(
    logits: np.ndarray,
) -> None:
    found = decoded(encode_mask(logits))
    half_a_level = 0.5 / (LEVELS - 1)
    off = abs(probability(found) - probability(logits.clip(-SATURATION, SATURATION)))
    assert off.max() < half_a_level + 1e-3  # float16
    assert ((found > 0) == (logits > 0)).all()


def test_even_a_logit_next_to_0_keeps_its_side_and_0_is_outside() -> None:
    logits = np.array([[1e-4, -1e-4], [0.0, 0.0]], np.float32)
    found = decoded(encode_mask(logits), side=2)
    assert (found > 0).tolist() == [[True, False], [False, False]]


def test_a_mask_of_256_pixels_takes_less_than_four_kilobytes(logits: np.ndarray) -> None:
    assert len(encode_mask(logits)) < 4000


def test_saturated_logits_keep_their_sign_and_stop_at_the_saturation() -> None:
    found = decoded(encode_mask(np.array([[1e4, -1e4], [-30.0, 30.0]], np.float32)), side=2)
    np.testing.assert_allclose(
        found, [[SATURATION, -SATURATION], [-SATURATION, SATURATION]], atol=0.01
    )


@pytest.mark.parametrize("distance", [1.0, 4.0])
def test_the_gradient_of_distillation_keeps_its_direction(
    logits: np.ndarray, distance: float
) -> None:
    torch.manual_seed(0)
    noise = F.interpolate(torch.randn(1, 1, 32, 32), size=(SIDE, SIDE), mode="bicubic")[0, 0]
    student = torch.from_numpy(logits) + distance * noise

    def gradient(teacher: np.ndarray) -> torch.Tensor:
        asked = student.clone().requires_grad_()
        target, found = torch.from_numpy(teacher).sigmoid(), asked.sigmoid()
        focal = F.binary_cross_entropy_with_logits(asked, target, reduction="none")
        dice = 1 - 2 * (found * target).sum() / (found.square() + target.square()).sum()
        (20 * (focal * (found - target).square()).mean() + dice).backward()
        assert asked.grad is not None
        return asked.grad.flatten()

    exact, stored = gradient(logits), gradient(decoded(encode_mask(logits)))
    assert F.cosine_similarity(exact, stored, dim=0) > 0.999


def test_logits_that_are_not_finite_are_refused() -> None:
    with pytest.raises(ValueError, match="not finite"):
        encode_mask(np.array([[np.nan]], np.float32))


def test_damaged_bytes_are_an_error(logits: np.ndarray) -> None:
    content = encode_mask(logits)
    for damaged in (content[:-20], b"\0" + content[1:], encode_mask(logits[:-1])):
        with pytest.raises(ValueError, match="damaged"):
            decoded(damaged)
