"""Each query gets its quota of the samples nearest to it, and no sample serves two.

.venv/bin/pytest tests/reinforced_data/curation/test_retrieve.py
"""

from pathlib import Path

import numpy as np
import pytest
from made_sidecars import TEACHER, make_sidecar, random_unit, unit

from zoo.reinforced_data.curation.pool import Pool
from zoo.reinforced_data.curation.queries import stored_queries
from zoo.reinforced_data.curation.retrieve import retrieve


@pytest.fixture
def images() -> np.ndarray:
    return random_unit(120, 16)


@pytest.fixture
def pool(tmp_path: Path, images: np.ndarray) -> Pool:
    cuts = [slice(0, 7), slice(7, 60), slice(60, 120)]
    return Pool.open([make_sidecar(tmp_path / f"{i}.tar", images[c]) for i, c in enumerate(cuts)])


def settled_one_by_one(products: np.ndarray, quota: int) -> dict[int, int]:
    """All pairs from the most similar on: sample -> query."""
    taken: dict[int, int] = {}
    for place in np.argsort(-products, axis=None, kind="stable"):
        query, sample = divmod(int(place), products.shape[1])
        if sample not in taken and list(taken.values()).count(query) < quota:
            taken[sample] = query
    return taken


@pytest.mark.parametrize("quota", [1, 5, 12])
def test_it_is_what_settling_all_pairs_gives(pool: Pool, images: np.ndarray, quota: int) -> None:
    queries = random_unit(10, 16, seed=3)
    found = retrieve(pool, TEACHER, queries, quota=quota)
    expected = settled_one_by_one(queries @ images.T, quota)
    assert dict(zip(found.kept.tolist(), found.query.tolist(), strict=True)) == expected
    assert found.counts.tolist() == [quota] * 10
    np.testing.assert_allclose(
        found.similarity, (queries[found.query] * images[found.kept]).sum(axis=1), atol=1e-6
    )


def test_queries_that_want_the_same_samples_share_them(pool: Pool) -> None:
    """Eight nearly equal queries: the candidates of the first search are far too few."""
    queries = unit(random_unit(1, 16) + 1e-3 * random_unit(8, 16, seed=4))
    found = retrieve(pool, TEACHER, queries, quota=10)
    assert found.counts.tolist() == [10] * 8
    assert len(set(found.kept.tolist())) == 80


def test_a_pool_too_small_is_shared_out(pool: Pool) -> None:
    found = retrieve(pool, TEACHER, random_unit(3, 16, seed=5), quota=100)
    assert len(found.kept) == len(pool) == found.counts.sum()


def test_stored_embeddings_find_themselves(pool: Pool) -> None:
    queries = stored_queries(pool, TEACHER)
    found = retrieve(pool, TEACHER, queries.vectors, quota=1)
    assert found.query.tolist() == list(range(120))
    assert queries.names[7] == "1-0"


def test_a_quota_is_at_least_one(pool: Pool) -> None:
    with pytest.raises(ValueError, match="--quota is 0"):
        retrieve(pool, TEACHER, random_unit(1, 16), quota=0)


def test_queries_are_as_long_as_what_is_stored(pool: Pool) -> None:
    with pytest.raises(ValueError, match="have 8 numbers but those of 'sage' 16"):
        retrieve(pool, TEACHER, random_unit(1, 8), quota=1)
