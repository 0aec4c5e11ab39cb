"""Quotas solve the bounded problem exactly; complex clusters keep more, each its hardest.

.venv/bin/pytest tests/reinforced_data/curation/test_prune.py
"""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_sidecars import TEACHER, make_sidecar, random_unit, unit

from zoo.reinforced_data.curation.pool import Pool
from zoo.reinforced_data.curation.prune import Pruned, default_clusters, prune
from zoo.reinforced_data.curation.quotas import water_fill, whole_numbers
from zoo.reinforced_data.curation.vector_file import VectorFile

SPREADS = (0.02, 0.1, 0.4, 0.8)
SIZE = 100
SEED = 1  # with it, k-means finds the four concepts


@st.composite
def problems(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    sizes = np.array(draw(st.lists(st.integers(0, 40), min_size=1, max_size=12)))
    lower = np.minimum(sizes, draw(st.integers(0, 3)))
    total = draw(st.integers(int(lower.sum()), int(sizes.sum())))
    shares = np.array(draw(st.lists(st.floats(0, 1), min_size=len(sizes), max_size=len(sizes))))
    wanted = total * shares / shares.sum() if shares.sum() > 1e-6 else shares
    return wanted, lower, sizes, total


@given(problems())
def test_quotas_are_optimal(problem: tuple[np.ndarray, np.ndarray, np.ndarray, int]) -> None:
    """The conditions of Karush, Kuhn and Tucker, which are sufficient for a convex problem.

    Between its bounds every x - wanted is the same level; at the lower bound it is at least the
    level, at the upper one at most.
    """
    wanted, lower, upper, total = problem
    found = water_fill(wanted, lower, upper, total)
    assert found.sum() == pytest.approx(total, abs=1e-6)
    assert (found >= lower).all() and (found <= upper).all()
    free = (found > lower + 1e-6) & (found < upper - 1e-6)
    gap = found - wanted
    highest_needed = max(gap[free | (found >= upper - 1e-6) & (upper > lower)], default=-np.inf)
    lowest_allowed = min(gap[free | (found <= lower + 1e-6) & (upper > lower)], default=np.inf)
    assert highest_needed <= lowest_allowed + 1e-5


@given(problems())
def test_whole_quotas_keep_sum_and_bounds(
    problem: tuple[np.ndarray, np.ndarray, np.ndarray, int],
) -> None:
    wanted, lower, upper, total = problem
    shares = water_fill(wanted, lower, upper, total)
    quotas = whole_numbers(shares, total)
    assert quotas.sum() == total
    assert (quotas >= lower).all() and (quotas <= upper).all()
    assert (np.abs(quotas - shares) < 1 + 1e-6).all()


def test_the_largest_remainders_are_rounded_up() -> None:
    assert whole_numbers(np.array([1.2, 2.5, 0.5, 3.8]), 8).tolist() == [1, 3, 0, 4]


@pytest.fixture
def pool(tmp_path: Path) -> Pool:
    """Four concepts of 100 samples, from tight to wide."""
    centres = np.eye(4, 32)
    noise = random_unit(4, SIZE, 32)
    images = unit(centres[:, None] + np.array(SPREADS)[:, None, None] * noise)
    return Pool.open([make_sidecar(tmp_path / "a.tar", images.reshape(-1, 32))])


def run(pool: Pool, **options: float | str) -> Pruned:
    with VectorFile(pool, TEACHER) as vectors:
        found = prune(vectors, clusters=4, seed=SEED, **options)  # type: ignore[arg-type]
    concepts = np.arange(len(pool)) // SIZE
    assert len(set(zip(concepts, found.clusters.cluster, strict=True))) == 4
    return found


def kept_of_concepts(found: Pruned) -> list[int]:
    return np.bincount(found.kept // SIZE, minlength=4).tolist()


def test_complex_concepts_keep_more(pool: Pool) -> None:
    kept = kept_of_concepts(run(pool, keep=0.25, temperature=0.1))
    assert sum(kept) == 100
    assert kept == sorted(kept) and kept[0] < kept[3]


def test_a_concept_keeps_its_samples_farthest_from_the_centroid(pool: Pool) -> None:
    found = run(pool, keep=0.25)
    for cluster in range(4):
        inside = np.flatnonzero(found.clusters.cluster == cluster)
        similarity = found.clusters.similarity[inside]
        stays = np.isin(inside, found.kept)
        assert similarity[stays].max() <= similarity[~stays].min()


def test_a_full_concept_leaves_its_share_to_the_others(pool: Pool) -> None:
    kept = kept_of_concepts(run(pool, keep=0.8, temperature=0.02))
    assert sum(kept) == 320
    assert kept[3] == SIZE and min(kept) >= 1


def test_uniform_density_gives_every_concept_as_many(pool: Pool) -> None:
    assert kept_of_concepts(run(pool, keep=0.25, density="uniform")) == [25] * 4


def test_fewer_samples_than_clusters_can_be_kept(pool: Pool) -> None:
    assert len(run(pool, keep=0.005).kept) == 2


def test_complexity_is_spread_times_isolation(pool: Pool) -> None:
    found = run(pool, keep=0.5)
    vectors = np.concatenate(list(pool.image_vectors(TEACHER)))
    centroids = found.clusters.centroids
    for cluster in range(4):
        inside = vectors[found.clusters.cluster == cluster]
        spread = (1 - inside @ centroids[cluster]).mean()
        others = np.delete(centroids, cluster, axis=0)
        isolation = (1 - others @ centroids[cluster]).mean()
        assert found.complexity[cluster] == pytest.approx(spread * isolation, abs=1e-4)


def test_the_temperature_is_positive(pool: Pool) -> None:
    with pytest.raises(ValueError, match="--temperature is 0"):
        run(pool, keep=0.5, temperature=0)


def test_small_pools_get_fewer_clusters() -> None:
    assert [default_clusters(n) for n in (1, 39, 80, 4000, 10**7)] == [1, 1, 2, 100, 100]
