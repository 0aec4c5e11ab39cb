"""The filter keeps exactly the best fraction by image-text cosine.

.venv/bin/pytest tests/reinforced_data/curation/test_filter.py
"""

from pathlib import Path

import numpy as np
import pytest
from made_sidecars import TEACHER, make_sidecar, random_unit

from zoo.reinforced_data.curation.filter import filter_pairs
from zoo.reinforced_data.curation.pool import Pool
from zoo.reinforced_data.curation.selection import highest


@pytest.fixture
def pairs() -> tuple[np.ndarray, np.ndarray]:
    return random_unit(200, 16), random_unit(200, 16, seed=1)


def test_the_best_fraction_is_kept_over_all_shards(
    tmp_path: Path, pairs: tuple[np.ndarray, np.ndarray]
) -> None:
    images, texts = pairs
    cuts = [slice(0, 30), slice(30, 200)]
    paths = [make_sidecar(tmp_path / f"{i}.tar", images[c], texts[c]) for i, c in enumerate(cuts)]
    found = filter_pairs(Pool.open(paths), TEACHER, keep=0.15)
    cosines = (images * texts).sum(axis=1)
    assert found.kept.tolist() == sorted(np.argsort(-cosines)[:30].tolist())
    np.testing.assert_allclose(found.scores, cosines, atol=1e-6)
    assert found.threshold == found.scores[found.kept].min()


@pytest.mark.parametrize("keep", [0.0, -0.1, 1.01, float("nan")])
def test_a_fraction_is_above_0_and_at_most_1(tmp_path: Path, keep: float) -> None:
    pool = Pool.open([make_sidecar(tmp_path / "a.tar", random_unit(3, 4))])
    with pytest.raises(ValueError, match="--keep is"):
        filter_pairs(pool, TEACHER, keep=keep)


@pytest.mark.parametrize("count", range(1, 9))
def test_of_equal_scores_the_earlier_are_kept(count: int) -> None:
    scores = np.array([1, 3, 2, 2, 5, 2, 1, 2], np.float32)
    expected = np.argsort(-scores, kind="stable")[:count]
    assert highest(scores, count).tolist() == sorted(expected.tolist())
