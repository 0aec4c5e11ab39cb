"""What the storage of teacher embeddings does to the gradient that a student gets from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from zoo.reinforced_data.benchmarks.clip_like import clip_like_embeddings
from zoo.reinforced_data.datacompdr.published_sets import PUBLISHED_SETS
from zoo.reinforced_data.randomness import keyed_rng
from zoo.reinforced_data.sidecars.embedding_storage import (
    STORAGES,
    Storage,
    decode_rows,
    encode_embeddings,
)
from zoo.training.losses.distillation import TeacherPair, distillation_loss

TEACHERS = PUBLISHED_SETS["datacompdr"]
STUDENT_DIM = 512
STUDENT_SCALES = {"untrained": 1 / 0.07, "trained": 100.0}
"""CLIP's logit scale at the start and at its ceiling (arXiv 2103.00020, section 2.5)."""

_STUDENT_NOISE = 0.5  # share of a trained student's squared length that is not its teacher's


@dataclass(frozen=True)
class QualityRow:
    """One storage against fp32, seen by one student."""

    storage: Storage
    student: str
    gradient_cosine: float
    """Of the gradients of the distillation loss in all student features."""
    gradient_error: float
    """Their distance, relative to the length of the fp32 one."""
    divergence: float
    """Mean KL divergence of the targets from the fp32 ones, both directions."""
    target_entropy: float
    """Mean entropy of the fp32 targets, both directions."""


class Student(NamedTuple):
    """Features of length 1, (B, 512) each."""

    image_features: Tensor
    text_features: Tensor
    logit_scale: float


def measure_quality(batch_size: int) -> list[QualityRow]:
    """Compare each storage's gradient and targets with fp32's on a batch of CLIP-like embeddings.

    The students: features at random with CLIP's first logit scale, and the first teacher's own
    features, projected and half noise, with the scale that training ends at. Deterministic.
    """
    exact = [
        clip_like_embeddings(
            keyed_rng("quality", teacher.name), batch_size, views=1, texts=1, dim=teacher.embed_dim
        )
        for teacher in TEACHERS
    ]
    teachers = {
        storage: [
            TeacherPair(_stored(rows.images, storage), _stored(rows.texts, storage), t.logit_scale)
            for rows, t in zip(exact, TEACHERS, strict=True)
        ]
        for storage in STORAGES
    }
    return [
        _compare(storage, name, student, teachers[storage], teachers["fp32"])
        for name, student in _students(teachers["fp32"][0]).items()
        for storage in STORAGES
        if storage != "fp32"
    ]


def _compare(
    storage: Storage,
    name: str,
    student: Student,
    teachers: Sequence[TeacherPair],
    exact: Sequence[TeacherPair],
) -> QualityRow:
    gradient, reference = _gradient(student, teachers), _gradient(student, exact)
    targets = list(zip(_targets(exact), _targets(teachers), strict=True))
    return QualityRow(
        storage=storage,
        student=name,
        gradient_cosine=float(F.cosine_similarity(gradient, reference, dim=0)),
        gradient_error=float((gradient - reference).norm() / reference.norm()),
        divergence=float(np.mean([_divergence(p, q) for p, q in targets])),
        target_entropy=float(np.mean([_entropy(p) for p, _ in targets])),
    )


def _stored(rows: np.ndarray, storage: Storage) -> Tensor:
    """The rows (B, 1, D) as they come back from the storage: (B, D)."""
    decoded = decode_rows(encode_embeddings(rows, storage), storage, slice(None), 0)
    return torch.from_numpy(decoded)


def _students(teacher: TeacherPair) -> dict[str, Student]:
    generator = torch.Generator().manual_seed(0)
    batch, dim = teacher.image_features.shape
    noise = [torch.randn(batch, STUDENT_DIM, generator=generator) for _ in range(2)]
    projection = torch.randn(dim, STUDENT_DIM, generator=generator) / STUDENT_DIM**0.5
    own = [rows @ projection for rows in teacher[:2]]
    taught = [
        (1 - _STUDENT_NOISE) ** 0.5 * rows + (_STUDENT_NOISE / STUDENT_DIM) ** 0.5 * random
        for rows, random in zip(own, noise, strict=True)
    ]
    features = {"untrained": noise, "trained": taught}
    return {
        name: Student(F.normalize(image, dim=1), F.normalize(text, dim=1), STUDENT_SCALES[name])
        for name, (image, text) in features.items()
    }


def _gradient(student: Student, teachers: Sequence[TeacherPair]) -> Tensor:
    """The gradient in image and text features as one float64 vector."""
    features = [rows.clone().requires_grad_() for rows in student[:2]]
    distillation_loss(features[0], features[1], student.logit_scale, teachers).backward()
    return torch.cat([rows.grad.double().flatten() for rows in features if rows.grad is not None])


def _targets(teachers: Sequence[TeacherPair]) -> list[Tensor]:
    """Image-to-text and text-to-image targets of the loss: float64 (B, B)."""
    logits = [s * (image.double() @ text.double().T) for image, text, s in teachers]
    return [
        torch.stack([(one if rows else one.T).softmax(1) for one in logits]).mean(0)
        for rows in (True, False)
    ]


def _divergence(p: Tensor, q: Tensor) -> float:
    return float((p * (p.log() - q.log())).nansum(1).mean())


def _entropy(p: Tensor) -> float:
    return float(-torch.xlogy(p, p).sum(1).mean())
