"""Concepts are counted in singular and plural, and frequent ones weigh less.

.venv/bin/pytest tests/reinforced_data/curation/test_balance.py
"""

from pathlib import Path

import numpy as np
import pytest
from made_sidecars import make_sidecar, random_unit
from tiny_shards import jpeg

from zoo.reinforced_data.curation.balance import balance, default_cap
from zoo.reinforced_data.curation.concepts import ConceptIndex, lemma
from zoo.reinforced_data.curation.pool import Pool
from zoo.reinforced_data.curation.text_list import read_list
from zoo.reinforced_data.shards.sample import Sample
from zoo.reinforced_data.shards.write import write_shards

TRUTH = ("a dog", "two dogs and a cat", "DOGS!", "dog, cat", "an okapi and a dog", "a hot day")
SYNTHETIC = ("an animal", "pets", "pets", "pets", "a zebra", "the sea")
CONCEPTS = ("dog", "cat", "okapi", "hot dog", "sea")


@pytest.mark.parametrize(
    ("one", "many"),
    [
        ("dog", "dogs"),
        ("horse", "horses"),
        ("box", "boxes"),
        ("bus", "buses"),
        ("glass", "glasses"),
        ("dish", "dishes"),
        ("church", "churches"),
        ("berry", "berries"),
        ("cookie", "cookies"),
        ("plane", "planes"),
        ("woman", "women"),
        ("wolf", "wolves"),
        ("child", "children"),
        ("cow", "cows"),
    ],
)
def test_singular_and_plural_have_one_lemma(one: str, many: str) -> None:
    assert lemma(one) == lemma(many)


@pytest.mark.parametrize(
    ("one", "other"), [("plan", "plane"), ("pin", "pine"), ("can", "cane"), ("cat", "car")]
)
def test_other_words_stay_apart(one: str, other: str) -> None:
    assert lemma(one) != lemma(other)


def test_concepts_of_several_words_are_found_in_order() -> None:
    index = ConceptIndex(["fire truck", "truck", "polar bear"])
    assert index.find(["Two fire-trucks."]) == {0, 1}
    assert index.find(["a truck on fire", "bear"]) == {1}


def test_a_concept_without_letters_is_refused() -> None:
    with pytest.raises(ValueError, match=r"'\?!' has no letters"):
        ConceptIndex(["dog", "?!"])


def test_a_list_of_concepts_is_read_line_by_line(tmp_path: Path) -> None:
    path = tmp_path / "concepts.txt"
    path.write_text("\ufeffdog\n\n  fire   truck\ndog\n", "utf-8")
    assert read_list(path) == ["dog", "fire truck"]
    path.write_bytes("café".encode("latin-1"))
    with pytest.raises(ValueError, match="is not utf-8 text"):
        read_list(path)


@pytest.fixture
def pool(tmp_path: Path) -> Pool:
    samples = [
        Sample(key=f"00000-{i}", image=jpeg(i), captions=(text,)) for i, text in enumerate(TRUTH)
    ]
    [shard] = write_shards(samples, tmp_path, samples_per_shard=10)
    captions = [(text,) for text in SYNTHETIC]
    return Pool.open([make_sidecar(shard, random_unit(6, 4), captions=captions)])


def test_counts_and_weights(pool: Pool) -> None:
    found = balance(pool, ConceptIndex(CONCEPTS), cap=2, captions="ground-truth")
    assert found.counts.tolist() == [5, 2, 1, 0, 0]
    np.testing.assert_allclose(found.weights, [0.4, 1, 0.4, 1, 1, 0])
    np.testing.assert_allclose(found.balanced_counts, [3.8, 2, 1, 0, 0], rtol=1e-6)
    assert found.kept.tolist() == [0, 1, 2, 3, 4]


def test_synthetic_captions_count_too(pool: Pool) -> None:
    assert balance(pool, ConceptIndex(CONCEPTS)).counts.tolist() == [5, 2, 1, 0, 1]
    synthetic = balance(pool, ConceptIndex(CONCEPTS), captions="synthetic")
    assert synthetic.counts.tolist() == [0, 0, 0, 0, 1]


def test_synthetic_captions_need_no_shard(pool: Pool) -> None:
    pool.shards[0].sidecar.with_name("00000.tar").unlink()
    assert balance(pool, ConceptIndex(["pet"]), captions="synthetic").counts.tolist() == [3]
    with pytest.raises(FileNotFoundError, match=r"00000\.tar"):
        balance(pool, ConceptIndex(["pet"]))


def test_by_default_rare_concepts_hold_six_per_cent_of_the_matches() -> None:
    counts = np.array([0, 1, 2, 3, 100, 0, 50])
    assert default_cap(counts) == 50
    counts = np.array([4] * 3 + [88])
    assert default_cap(counts) == 4


def test_captions_without_a_concept_are_no_subset(pool: Pool) -> None:
    with pytest.raises(ValueError, match="name none of 1 concepts"):
        balance(pool, ConceptIndex(["unicorn"]))


def test_a_cap_is_at_least_one(pool: Pool) -> None:
    with pytest.raises(ValueError, match="--cap is 0"):
        balance(pool, ConceptIndex(CONCEPTS), cap=0)


def test_captions_that_are_not_stored_are_missed(tmp_path: Path) -> None:
    pool = Pool.open([make_sidecar(tmp_path / "a.tar", random_unit(2, 4))])
    with pytest.raises(ValueError, match="no synthetic captions"):
        balance(pool, ConceptIndex(["dog"]), captions="synthetic")
