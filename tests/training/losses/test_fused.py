"""The fused loss is the plain one, in value and gradient, however it is cut.

Run: pytest tests/training/losses/test_fused.py
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from feature_pairs import random_features, random_teachers, value_and_gradients
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from zoo.eval.memory import peak_activation_bytes
from zoo.training.losses.contrastive import contrastive_loss
from zoo.training.losses.distillation import TeacherPair, distillation_loss
from zoo.training.losses.fused import fused_loss
from zoo.training.losses.tiled_similarities import TiledSimilarities
from zoo.training.losses.tiles import Tiling

FIXTURE = Path(__file__).parent.parent.parent / "fixtures" / "dr_loss.npz"
ALL_KEPT = 2**20


def plain(teachers: list[TeacherPair], weight: float):
    def loss(image: Tensor, text: Tensor, scale: Tensor) -> Tensor:
        value = (1 - weight) * contrastive_loss(image, text, scale)
        if weight > 0:
            value = value + weight * distillation_loss(image, text, scale, teachers)
        return value

    return loss


def fused(teachers: list[TeacherPair], weight: float, tiling: Tiling | None = None):
    def loss(image: Tensor, text: Tensor, scale: Tensor) -> Tensor:
        pair = fused_loss(
            image, text, scale, teachers=teachers, distillation_weight=weight, tiling=tiling
        )
        return pair.contrastive + pair.distillation

    return loss


def pair_and_scale(batch: int, *, scale: float = 20.0) -> tuple[Tensor, Tensor, Tensor]:
    image, text = random_features(2, batch, 6, seed=batch)
    return image, text, torch.tensor(scale, dtype=torch.float64)


def assert_equal_to_plain(
    batch: int, count: int, weight: float, tiling: Tiling | None, scale: float
) -> None:
    teachers = random_teachers(batch, count, scale=scale)
    point = pair_and_scale(batch, scale=scale)
    expected = value_and_gradients(plain(teachers, weight), *point)
    computed = value_and_gradients(fused(teachers, weight, tiling), *point)
    for value, reference in zip(computed, expected, strict=True):
        torch.testing.assert_close(value, reference, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("scale", [8.0, 100.0])
@pytest.mark.parametrize(("weight", "teachers"), [(0.0, 0), (0.25, 1), (0.75, 3), (1.0, 2)])
@pytest.mark.parametrize(
    "tiling",
    [None, Tiling(side=4), Tiling(side=4, kept_bytes=600), Tiling(side=7, kept_bytes=ALL_KEPT)],
)
def test_value_and_gradients_equal_the_plain_ones(
    tiling: Tiling | None, weight: float, teachers: int, scale: float
) -> None:
    assert_equal_to_plain(13, teachers, weight, tiling, scale)


@settings(max_examples=12, deadline=None)
@given(
    batch=st.integers(1, 20),
    side=st.integers(1, 21),
    kept=st.integers(0, 4000),
    weight=st.floats(0, 1),
    teachers=st.integers(1, 3),
)
def test_any_size_cut_into_any_tiles_equals_the_plain_loss(
    batch: int, side: int, kept: int, weight: float, teachers: int
) -> None:
    tiling = Tiling(side=side, kept_bytes=kept)
    assert_equal_to_plain(batch, teachers, weight, tiling, scale=30.0)


def test_float32_is_as_near_as_its_rounding() -> None:
    teachers = [
        TeacherPair(pair.image_features.float(), pair.text_features.float(), pair.logit_scale)
        for pair in random_teachers(40, 2, scale=100.0)
    ]
    point = pair_and_scale(40, scale=100.0)
    exact = value_and_gradients(plain(random_teachers(40, 2, scale=100.0), 0.75), *point)
    computed = value_and_gradients(
        fused(teachers, 0.75, Tiling(side=16)), *(argument.float() for argument in point)
    )
    for value, reference in zip(computed, exact, strict=True):
        assert value.dtype == torch.float32
        largest = reference.abs().max()
        assert (value - reference).abs().max() < 2e-5 * largest


@pytest.mark.parametrize("scales", [(100, 100), (70, 60)])
def test_both_terms_equal_the_reference_values(scales: tuple[int, int]) -> None:
    """Values of `reference/mobileclip.md` 4.3: λ = 0.75, both captions, student scale 100."""
    with np.load(FIXTURE) as arrays:
        stored = {key: torch.from_numpy(arrays[key]) for key in arrays.files}
    contrastive = distillation = 0.0
    for caption in ("text", "synthetic"):
        columns = (stored["teacher_image"], stored[f"teacher_{caption}"])
        images, texts = (column.split(6, dim=1) for column in columns)
        pair = fused_loss(
            stored["image"],
            stored[caption],
            100.0,
            teachers=[TeacherPair(*one) for one in zip(images, texts, scales, strict=True)],
            distillation_weight=0.75,
            tiling=Tiling(side=3),
        )
        contrastive += pair.contrastive.item()
        distillation += pair.distillation.item()
    suffix = f"{scales[0]}_{scales[1]}"
    assert contrastive == pytest.approx(stored[f"contrastive_{suffix}"].item(), rel=1e-12)
    assert distillation == pytest.approx(stored[f"distillation_{suffix}"].item(), rel=1e-12)


def test_each_direction_has_probabilities_of_its_own() -> None:
    """The reference once transposed a softmax over texts: its rows do not sum to one. Against a
    uniform student the loss is log(B) for every proper target, and something else for that one.
    """
    uniform = torch.ones(5, 3, dtype=torch.float64) / 3**0.5
    teachers = random_teachers(5, 2, scale=50.0)
    pair = fused_loss(
        uniform, uniform, 1.0, teachers=teachers, distillation_weight=1.0, tiling=Tiling(side=2)
    )
    assert pair.distillation.item() == pytest.approx(math.log(5), rel=1e-12)


def test_a_student_equal_to_its_teacher_has_no_gradient() -> None:
    image, text, scale = pair_and_scale(6)
    teacher = TeacherPair(image, text, scale.item())
    _, *gradients = value_and_gradients(fused([teacher], 1.0, Tiling(side=4)), image, text, scale)
    assert all(gradient.abs().max() < 1e-14 for gradient in gradients)


def test_a_term_of_weight_zero_is_not_computed() -> None:
    image, text, scale = pair_and_scale(4)
    broken = TeacherPair(image * math.nan, text * math.nan, 10.0)
    plain_only = fused_loss(image, text, scale, teachers=[broken], distillation_weight=0.0)
    assert plain_only.contrastive.isfinite() and plain_only.distillation == 0
    teachers = random_teachers(4, 1, scale=10.0)
    assert fused_loss(image, text, scale, teachers=teachers, distillation_weight=1).contrastive == 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rows_far_below_others_keep_their_logsumexp(dtype: torch.dtype) -> None:
    """With one shift for all of them their exponentials would be 0."""
    rows = torch.tensor([[1.0], [-1.0], [0.5]], dtype=dtype)
    columns = torch.tensor([[1.0], [0.9]], dtype=dtype)
    far = 100.0 if dtype == torch.float32 else 900.0
    for scale in (10.0, far):
        tiling = Tiling(side=3)
        scratch = tiling.scratch(rows), tiling.scratch(rows)
        tiled = TiledSimilarities(rows, columns, scale, tiling, scratch)
        logits = scale * rows @ columns.T
        torch.testing.assert_close(tiled.row_logsumexp.to(dtype), logits.logsumexp(1))
        torch.testing.assert_close(tiled.column_logsumexp.to(dtype), logits.logsumexp(0))
        across, down = slice(0, 3), slice(0, 2)
        sums = torch.zeros_like(logits)
        tiled.add_softmaxes(sums, tiled.logits(across, down), across, down, weight=2.0)
        torch.testing.assert_close(sums, 2 * (logits.softmax(1) + logits.softmax(0)))


def test_only_as_many_tiles_are_kept_as_there_is_room_for() -> None:
    image, text, scale = pair_and_scale(10)
    tiling = Tiling(side=4)
    scratch = tiling.scratch(image), tiling.scratch(image)
    tiled = TiledSimilarities(image, text, scale, tiling, scratch, keep=2)
    assert tiled.kept == 2
    for rows in tiling.spans(10):
        for columns in tiling.spans(10):
            expected = scale * image[rows] @ text[columns].T
            torch.testing.assert_close(tiled.logits(rows, columns), expected)


def test_no_matrix_of_similarities_is_ever_in_memory() -> None:
    batch = 256
    teachers = random_teachers(batch, 2, scale=50.0)
    arguments = pair_and_scale(batch)

    def peak(loss) -> int:
        return peak_activation_bytes(_Module(loss), *arguments)

    matrix = batch**2 * arguments[0].element_size()
    assert peak(plain(teachers, 0.75)) > 4 * matrix
    assert peak(fused(teachers, 0.75, Tiling(side=64))) < matrix / 2


class _Module(nn.Module):
    def __init__(self, loss) -> None:
        super().__init__()
        self.loss = loss

    def forward(self, *arguments: Tensor) -> Tensor:
        return self.loss(*arguments)


def test_a_scaled_loss_has_scaled_gradients() -> None:
    point = pair_and_scale(5)
    loss = fused(random_teachers(5, 1, scale=9.0), 0.5)
    once = value_and_gradients(loss, *point)
    scaled = value_and_gradients(lambda *arguments: 1024 * loss(*arguments), *point)
    for gradient, larger in zip(once, scaled, strict=True):
        torch.testing.assert_close(1024 * gradient, larger)


def test_gradients_of_anything_but_the_sum_are_refused() -> None:
    image, text, scale = (leaf.requires_grad_() for leaf in pair_and_scale(5))
    teachers = random_teachers(5, 1, scale=9.0)
    pair = fused_loss(image, text, scale, teachers=teachers, distillation_weight=0.5)
    with pytest.raises(ValueError, match="add them up"):
        pair.contrastive.backward(retain_graph=True)
    (pair.contrastive + 2 * pair.distillation).backward()
    assert image.grad is not None and image.grad.isnan().all()


def test_autocast_does_not_reach_the_loss() -> None:
    image, text, scale = (tensor.float() for tensor in pair_and_scale(9, scale=100.0))
    expected = fused_loss(image, text, scale).contrastive
    with torch.autocast("cpu", dtype=torch.bfloat16):
        computed = fused_loss(image, text, scale).contrastive
    assert computed.dtype == torch.float32 and computed == expected


@pytest.mark.gpu
def test_a_gpu_computes_the_same() -> None:
    teachers = random_teachers(50, 2, scale=60.0)
    on_gpu = [TeacherPair(pair[0].cuda(), pair[1].cuda(), pair[2]) for pair in teachers]
    point = pair_and_scale(50)
    expected = value_and_gradients(plain(teachers, 0.5), *point)
    arguments = (argument.cuda() for argument in point)
    computed = value_and_gradients(fused(on_gpu, 0.5, Tiling(side=16)), *arguments)
    for value, reference in zip(computed, expected, strict=True):
        torch.testing.assert_close(value.cpu(), reference, rtol=1e-10, atol=1e-10)


def test_what_cannot_be_is_refused_with_a_sentence() -> None:
    image, text, scale = pair_and_scale(4)
    with pytest.raises(ValueError, match="between 0 and 1"):
        fused_loss(image, text, scale, distillation_weight=1.5)
    with pytest.raises(ValueError, match="at least one teacher"):
        fused_loss(image, text, scale, distillation_weight=0.5)
    with pytest.raises(ValueError, match=r"\(4, 6\) and \(3, 6\)"):
        fused_loss(image, text[:3], scale)
    other_batch = random_teachers(3, 1, scale=9.0)
    with pytest.raises(ValueError, match="3 rows and the student 4"):
        fused_loss(image, text, scale, teachers=other_batch, distillation_weight=0.5)
    with pytest.raises(ValueError, match="side is at least 1"):
        Tiling(side=0)
