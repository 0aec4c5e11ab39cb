"""Embeddings with the statistics of CLIP's, for measurements where no teacher's weights are."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

_SAMPLES_A_TOPIC = 4

# Shares of an embedding's squared length; they add up to cosines (see `clip_like_embeddings`).
_COMMON, _TOPIC, _SAMPLE, _OWN, _VIEW = 0.15, 0.12, 0.09, 0.49, 0.15


class ClipLike(NamedTuple):
    """Rows of length 1 that belong together."""

    images: np.ndarray
    """float32 (N, A, D)"""
    texts: np.ndarray
    """float32 (N, T, D)"""


def clip_like_embeddings(
    rng: np.random.Generator, samples: int, *, views: int, texts: int, dim: int
) -> ClipLike:
    """Draw the embeddings of `views` augmentations and `texts` captions of each sample.

    Every row is a sum of normally distributed directions: common to all, to a topic of four
    samples, to the sample, to its picture or its captions, and the row's own. Expected cosines:
    picture and caption of a sample 0.36, of two topics 0.15, as ViT-L/14 has them on DataComp
    (`reference/ecosystem.md`, 3c), two views of a picture 0.85. At logit scale 100 the softmax
    targets of 2,048 samples have an entropy of about 0.4 nats, so that they are not one-hot.

    What storage costs does not depend on the model: mantissas of real embeddings are as
    incompressible as these, and one int8 scale a row fits both, for their values are near normal.
    """
    topics = _directions(rng, -(-samples // _SAMPLES_A_TOPIC), dim)
    strengths = rng.uniform(0, 2, (samples, 1)).astype(np.float32)
    shared = (
        np.sqrt(_COMMON) * _directions(rng, 1, dim)
        + np.sqrt(_TOPIC) * topics.repeat(_SAMPLES_A_TOPIC, axis=0)[:samples]
        + np.sqrt(_SAMPLE * strengths) * _directions(rng, samples, dim)
    )
    return ClipLike(_rows(rng, shared, views), _rows(rng, shared, texts))


def _rows(rng: np.random.Generator, shared: np.ndarray, count: int) -> np.ndarray:
    """`count` unit rows around each sample of one modality: (N, count, D)."""
    samples, dim = shared.shape
    centre = shared + np.sqrt(_OWN) * _directions(rng, samples, dim)
    own = _directions(rng, samples * count, dim).reshape(samples, count, dim)
    rows = centre[:, None] + np.sqrt(_VIEW) * own
    rows /= np.linalg.norm(rows, axis=-1, keepdims=True)
    return rows.astype(np.float32, copy=False)


def _directions(rng: np.random.Generator, count: int, dim: int) -> np.ndarray:
    """Normally distributed (count, D) of length about 1."""
    return rng.standard_normal((count, dim), dtype=np.float32) / np.float32(np.sqrt(dim))
