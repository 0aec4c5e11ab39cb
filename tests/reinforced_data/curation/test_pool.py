"""A pool reads the stored embeddings of valid samples, those of a subset where one is given.

.venv/bin/pytest tests/reinforced_data/curation/test_pool.py
"""

from pathlib import Path

import numpy as np
import pytest
from made_sidecars import TEACHER, make_sidecar, random_unit, unit

from zoo.reinforced_data.curation import pool as pool_module
from zoo.reinforced_data.curation.pool import Pool, find_sidecars
from zoo.reinforced_data.curation.subset import Subset, write_subset
from zoo.reinforced_data.curation.vector_file import VectorFile
from zoo.reinforced_data.sidecars.embedding_storage import STORAGES, Storage


def image_vectors(pool: Pool) -> np.ndarray:
    return np.concatenate(list(pool.image_vectors(TEACHER)))


@pytest.mark.parametrize("storage", STORAGES)
def test_a_vector_is_the_normalised_mean_over_augmentations(
    tmp_path: Path, storage: Storage
) -> None:
    images = random_unit(7, 3, 64)
    texts = random_unit(7, 64, seed=1)
    pool = Pool.open([make_sidecar(tmp_path / "a.tar", images, texts, storage=storage)])
    np.testing.assert_allclose(image_vectors(pool), unit(images.mean(axis=1)), atol=3e-3)
    found = np.concatenate(list(pool.text_vectors(TEACHER)))
    np.testing.assert_allclose(found, texts, atol=3e-3)


def test_invalid_samples_are_left_out_and_numbers_lead_back(tmp_path: Path) -> None:
    images = random_unit(9, 8)
    valid = np.array([1, 0, 1, 1], bool)
    first = make_sidecar(tmp_path / "a.tar", images[:4], valid=valid)
    second = make_sidecar(tmp_path / "b.tar", images[4:])
    pool = Pool.open([first, second])
    assert len(pool) == 8
    np.testing.assert_allclose(image_vectors(pool), images[[0, 2, 3, 4, 5, 6, 7, 8]], rtol=1e-6)
    assert [(pool.place(i)[0].name, pool.place(i)[1]) for i in (0, 1, 2, 3, 7)] == [
        ("a.tar", 0),
        ("a.tar", 2),
        ("a.tar", 3),
        ("b.tar", 0),
        ("b.tar", 4),
    ]
    kept = pool.keep(np.array([1, 7]))
    assert {name: keys for name, (keys, _) in kept.items()} == {"a.tar": ["a-2"], "b.tar": ["b-4"]}


def test_small_parts_give_the_same_vectors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    valid = np.arange(20) % 7 != 3
    pool = Pool.open([make_sidecar(tmp_path / "a.tar", random_unit(20, 2, 8), valid=valid)])
    whole = image_vectors(pool)
    monkeypatch.setattr(pool_module, "_VALUES_AT_ONCE", 24)
    assert len(list(pool.image_vectors(TEACHER))) > 5
    assert np.array_equal(image_vectors(pool), whole)
    with VectorFile(pool, TEACHER, folder=tmp_path) as vectors:
        assert vectors.shape == whole.shape
        np.testing.assert_allclose(vectors.rows(np.array([5, 2])), whole[[5, 2]], atol=5e-4)


def test_a_subset_chooses_samples_and_its_weights_are_carried_on(tmp_path: Path) -> None:
    sidecar = make_sidecar(tmp_path / "a.tar", random_unit(5, 8), valid=np.arange(5) != 4)
    path = tmp_path / "x.subset.safetensors"
    weights = np.array([0.5, 3, 1], np.float32)
    write_subset(path, {"a.tar": (["a-1", "a-3", "a-4"], weights)}, {})
    pool = Pool.open([sidecar], subset=path)
    assert len(pool) == 2
    write_subset(path, pool.keep(np.array([0, 1]), np.array([0.5, 1], np.float32)), {})
    rows, weights = Subset.open(path).rows("a.tar", [f"a-{i}" for i in range(5)])
    assert rows.tolist() == [1, 3] and weights.tolist() == [0.25, 3]


def test_sidecars_are_found_with_and_without_their_shards(tmp_path: Path) -> None:
    paths = [make_sidecar(tmp_path / f"0000{i}.tar", random_unit(1, 4)) for i in range(3)]
    assert find_sidecars(tmp_path) == paths
    assert find_sidecars(tmp_path / "*.tar") == paths
    assert find_sidecars(f"{tmp_path}/{{00000..00001}}.tar") == paths[:2]
    assert find_sidecars(paths[2]) == paths[2:]


def test_a_shard_without_a_sidecar_is_named(tmp_path: Path) -> None:
    make_sidecar(tmp_path / "a.tar", random_unit(1, 4))
    (tmp_path / "b.tar").touch()
    with pytest.raises(ValueError, match=r"b\.reinforced\.safetensors'; make it"):
        find_sidecars(tmp_path)
    with pytest.raises(ValueError, match=r"no sidecar .*c\.reinforced"):
        find_sidecars(tmp_path / "c.tar")


def test_an_empty_folder_has_no_sidecar(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="There is no sidecar"):
        find_sidecars(tmp_path)


def test_an_unknown_teacher_is_answered_with_those_there_are(tmp_path: Path) -> None:
    pool = Pool.open([make_sidecar(tmp_path / "a.tar", random_unit(1, 4))])
    with pytest.raises(ValueError, match="no teacher 'oracle'; it has sage"):
        pool.teacher("oracle")


def test_other_weights_of_a_teacher_are_not_mixed(tmp_path: Path) -> None:
    first = make_sidecar(tmp_path / "a.tar", random_unit(1, 4))
    second = make_sidecar(tmp_path / "b.tar", random_unit(1, 4), pretrained="other")
    with pytest.raises(ValueError, match="cannot be compared"):
        Pool.open([first, second]).teacher(TEACHER)


def test_two_shards_of_one_name_are_refused(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    paths = [
        make_sidecar(folder / "a.tar", random_unit(1, 4)) for folder in (tmp_path, tmp_path / "x")
    ]
    with pytest.raises(ValueError, match=r"both of a shard 'a\.tar'"):
        Pool.open(paths)


def test_a_pool_without_a_valid_sample_is_refused(tmp_path: Path) -> None:
    path = make_sidecar(tmp_path / "a.tar", random_unit(2, 4), valid=np.zeros(2, bool))
    with pytest.raises(ValueError, match="No sample in 1 sidecars is valid"):
        Pool.open([path])
