"""Planted duplicates are found, one of each group stays, and the choice repeats.

.venv/bin/pytest tests/reinforced_data/curation/test_dedup.py
"""

import sys
from pathlib import Path

import numpy as np
import pytest
from made_sidecars import TEACHER, make_sidecar, random_unit, unit

from zoo.reinforced_data.curation import dedup
from zoo.reinforced_data.curation.dedup import (
    Deduplicated,
    crop_distance,
    deduplicate,
    nearest_earlier,
)
from zoo.reinforced_data.curation.pool import Pool
from zoo.reinforced_data.curation.vector_file import VectorFile

GROUPS, COPIES, DIMENSION = 150, 3, 32


@pytest.fixture
def pool(tmp_path: Path) -> Pool:
    """150 pictures, each with two near copies, mixed over two shards."""
    originals = np.repeat(random_unit(GROUPS, DIMENSION), COPIES, axis=0)
    near = unit(originals + 0.01 * random_unit(*originals.shape, seed=1))
    near = near[np.random.default_rng(2).permutation(len(near))]
    paths = [make_sidecar(tmp_path / f"{i}.tar", near[i * 200 : i * 200 + 250]) for i in (0, 1)]
    return Pool.open(paths)


def run(pool: Pool, **options: float) -> Deduplicated:
    with VectorFile(pool, TEACHER) as vectors:
        return deduplicate(vectors, **options)  # type: ignore[arg-type]


def groups(pool: Pool, numbers: np.ndarray) -> set[int]:
    vectors = np.concatenate(list(pool.image_vectors(TEACHER)))
    return set((vectors[numbers] @ random_unit(GROUPS, DIMENSION).T).argmax(axis=1).tolist())


def test_one_of_each_group_of_duplicates_stays(pool: Pool) -> None:
    found = run(pool, epsilon=0.01)
    assert len(found.kept) == GROUPS
    assert groups(pool, found.kept) == set(range(GROUPS))


def test_the_copy_farthest_from_the_centroid_stays(pool: Pool) -> None:
    found = run(pool, epsilon=0.01)
    gone = np.setdiff1d(np.arange(len(pool)), found.kept)
    similarity = found.clusters.similarity
    assert (similarity[found.twin[gone]] <= similarity[gone]).all()
    assert (found.similarity[gone] > 0.99).all()


def test_it_is_the_published_formula_in_each_cluster(pool: Pool) -> None:
    found = run(pool, epsilon=0.01, clusters=5)
    vectors = np.concatenate(list(pool.image_vectors(TEACHER)))
    for cluster in range(5):
        members = found.clusters.members(cluster)
        products = np.triu(vectors[members] @ vectors[members].T, 1).max(axis=0)
        kept = set(members[products <= 1 - 0.01].tolist())
        assert kept == set(members.tolist()) & set(found.kept.tolist())


def test_blocks_of_a_big_cluster_give_what_the_whole_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = random_unit(53, 8)
    whole = nearest_earlier(lambda rows: vectors[rows], np.arange(53))
    monkeypatch.setattr(dedup, "_BLOCK", 7)
    blocks = nearest_earlier(lambda rows: vectors[rows], np.arange(53))
    np.testing.assert_allclose(blocks[0], whole[0], rtol=1e-6)
    assert blocks[1].tolist() == whole[1].tolist()
    assert whole[0][0] == -1


def test_a_fraction_chooses_epsilon(pool: Pool) -> None:
    found = run(pool, keep=0.5)
    assert len(found.kept) == len(pool) // 2
    same = run(pool, epsilon=found.epsilon)
    assert abs(len(same.kept) - len(found.kept)) <= 1  # epsilon is rounded to a float


def test_the_same_seed_gives_the_same_choice(pool: Pool) -> None:
    first, second = run(pool, epsilon=0.3), run(pool, epsilon=0.3)
    assert np.array_equal(first.kept, second.kept)
    assert np.array_equal(first.clusters.centroids, second.clusters.centroids)


@pytest.mark.parametrize("clusters", [0, -1, 501])
def test_the_number_of_clusters_fits_the_samples(pool: Pool, clusters: int) -> None:
    with pytest.raises(ValueError, match="--clusters is"):
        run(pool, clusters=clusters)


def test_epsilon_is_a_cosine_distance(pool: Pool) -> None:
    with pytest.raises(ValueError, match="--epsilon is -1"):
        run(pool, epsilon=-1)


def test_the_distance_between_draws_of_crops_is_estimated_from_one_draw(tmp_path: Path) -> None:
    """Two draws of ten crops of each picture: their means are as far apart as was foretold."""
    pictures = random_unit(400, 1, DIMENSION)
    draws = [unit(pictures + random_unit(400, 10, DIMENSION, seed=seed)) for seed in (1, 2)]
    means = [unit(draw.mean(axis=1)) for draw in draws]
    actual = float(np.median(1 - (means[0] * means[1]).sum(axis=1)))
    pool = Pool.open([make_sidecar(tmp_path / "a.tar", draws[0])])
    assert crop_distance(pool, TEACHER) == pytest.approx(actual, rel=0.1)


def test_one_augmentation_tells_nothing_of_crops(pool: Pool) -> None:
    assert crop_distance(pool, TEACHER) is None


def test_a_missing_faiss_says_what_to_install(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(ValueError, match=r"need faiss; install zoo\[data\]"):
        run(pool)
