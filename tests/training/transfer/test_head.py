"""A head is the minimum it claims to be, and its file comes back whole or not at all.

Run: pytest tests/training/transfer/test_head.py
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from zoo.reinforced_data.sidecars.tensor_file import write_tensors
from zoo.training.transfer.fit_head import PENALTIES, fit_head
from zoo.training.transfer.head import LinearHead, load_head, save_head
from zoo.training.transfer.labelled import Labelled

CLASSES, FEATURES = 3, 8


def clusters(per_class: int, noise: float, seed: int = 1) -> tuple[Tensor, Tensor]:
    """Features (N, D) around a centre a class, and labels (N,)."""
    centres = torch.randn(CLASSES, FEATURES, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(CLASSES).repeat(per_class)
    drawn = torch.randn(len(labels), FEATURES, generator=torch.Generator().manual_seed(seed))
    return centres[labels] + noise * drawn, labels


def fitted(features: Tensor, labels: Tensor) -> LinearHead:
    return fit_head(Labelled(features=features, labels=labels, of="sage", pretrained="made"))


def penalty_at_the_minimum(head: LinearHead, features: Tensor, labels: Tensor) -> np.ndarray:
    """Return the penalty (C, D) at which each weight's gradient is 0: -(of cross-entropy) / W."""
    x = features.numpy().astype(np.float64)
    x *= np.sqrt(FEATURES) / np.linalg.norm(x, axis=1, keepdims=True)
    weight = head.weight.detach().numpy().astype(np.float64)
    logits = x @ weight.T + head.bias.detach().numpy()
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    errors = odds / odds.sum(axis=1, keepdims=True) - np.eye(CLASSES)[labels.numpy()]
    assert np.abs(errors.mean(axis=0)).max() < 1e-5  # the bias is free
    return -(errors.T @ x / len(x)) / weight


def test_the_head_is_the_minimum_of_regularised_cross_entropy() -> None:
    features, labels = clusters(per_class=9, noise=2.0)
    penalties = penalty_at_the_minimum(fitted(features, labels), features, labels)
    (penalty,) = {min(PENALTIES, key=lambda one: abs(one - value)) for value in penalties.flat}
    assert np.abs(penalties / penalty - 1).max() < 1e-2


def test_noisier_features_are_penalised_more() -> None:
    clean, noisy = clusters(12, noise=0.3), clusters(12, noise=8.0)
    assert np.median(penalty_at_the_minimum(fitted(*noisy), *noisy)) >= 10 * np.median(
        penalty_at_the_minimum(fitted(*clean), *clean)
    )


def test_a_fitted_head_knows_new_pictures_of_its_classes() -> None:
    head = fitted(*clusters(per_class=9, noise=0.5))
    features, labels = clusters(per_class=20, noise=0.5, seed=2)
    assert (head(features).argmax(dim=1) == labels).float().mean() > 0.95
    assert (head.of, head.pretrained, head.classes) == ("sage", "made", CLASSES)


def test_the_length_of_features_does_not_matter() -> None:
    features, labels = clusters(per_class=4, noise=0.5)
    head = fitted(features, labels)
    torch.testing.assert_close(head(7 * features), head(features))
    torch.testing.assert_close(fitted(3 * features, labels).weight, head.weight)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0, 0, 1, 2, 2], "Class 1 has 1 labelled pictures; give at least 2"),
        ([0, 0, 2, 2], "Class 1 has 0 labelled pictures"),
        ([0, 0, 0], "two of them at least"),
        ([-1, -1, 0, 0], "counted from 0"),
    ],
)
def test_labels_that_cannot_be_learned_are_refused(labels: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fitted(torch.ones(len(labels), 2), torch.tensor(labels))


def test_a_head_comes_back_from_its_file_and_gives_the_same_bytes(tmp_path: Path) -> None:
    head = fitted(*clusters(per_class=3, noise=0.5))
    for name in ("one", "two"):
        save_head(head, tmp_path / name / "head.safetensors")
    loaded = load_head(tmp_path / "one" / "head.safetensors")
    assert loaded.weight.equal(head.weight) and loaded.bias.equal(head.bias)
    assert (loaded.of, loaded.pretrained) == ("sage", "made")
    one, two = ((tmp_path / name / "head.safetensors").read_bytes() for name in ("one", "two"))
    assert one == two


def test_what_is_no_head_is_named(tmp_path: Path) -> None:
    path = tmp_path / "head.safetensors"
    with pytest.raises(FileNotFoundError, match="There is no head"):
        load_head(path)
    save_head(LinearHead(4, 2, of="x"), path)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"not a linear head .* or it is damaged"):
        load_head(path)
    write_tensors(path, {"weight": np.zeros((2, 4), np.float32)}, {"format": "other"})
    with pytest.raises(ValueError, match="not a linear head"):
        load_head(path)
