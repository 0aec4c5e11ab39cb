"""A subset gives back what was written, in shard order, and refuses to be anything else.

.venv/bin/pytest tests/reinforced_data/curation/test_subset.py
"""

import pickle
from pathlib import Path

import numpy as np
import pytest

from zoo.reinforced_data.curation.subset import Subset, write_subset
from zoo.reinforced_data.sidecars.tensor_file import write_tensors

KEPT = {
    "b.tar": (["näher", "a/1"], np.array([2.5, 0.5], np.float32)),
    "a.tar": (["x"], np.array([1.0], np.float32)),
    "empty.tar": ([], np.zeros(0, np.float32)),
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "new" / "some.subset.safetensors"
    write_subset(path, KEPT, {"made_by": "test"})
    return path


def test_rows_come_in_shard_order_with_their_weights(path: Path) -> None:
    subset = Subset.open(path)
    rows, weights = subset.rows("b.tar", ["a/1", "other", "näher"])
    assert rows.tolist() == [0, 2] and rows.dtype == np.int64
    assert weights.tolist() == [0.5, 2.5] and weights.dtype == np.float32
    assert subset.shards == ("a.tar", "b.tar", "empty.tar")
    assert len(subset) == 3
    assert subset.metadata["made_by"] == "test"


def test_a_shard_may_keep_nothing(path: Path) -> None:
    rows, weights = Subset.open(path).rows("empty.tar", ["a", "b"])
    assert rows.shape == weights.shape == (0,)


def test_a_shard_that_was_not_looked_at_is_named(path: Path) -> None:
    with pytest.raises(ValueError, match=r"without the shard 'c\.tar'"):
        Subset.open(path).rows("c.tar", ["x"])


def test_a_key_that_the_shard_lacks_is_named_with_the_shard(path: Path) -> None:
    with pytest.raises(ValueError, match=r"sample 'näher' of shard 'b\.tar'"):
        Subset.open(path).rows("b.tar", ["a/1"])


def test_the_same_content_gives_the_same_bytes_in_any_order(path: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.subset.safetensors"
    write_subset(other, dict(reversed(KEPT.items())), {"made_by": "test"})
    assert other.read_bytes() == path.read_bytes()


def test_a_worker_process_gets_the_same_subset(path: Path) -> None:
    copy = pickle.loads(pickle.dumps(Subset.open(path)))
    assert copy.keys("b.tar") == ("näher", "a/1")


@pytest.mark.parametrize("place", [0, 40, -1])
def test_damage_is_found_when_it_is_opened(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"some\.subset"):
        Subset.open(path)


def test_a_sidecar_is_no_subset(tmp_path: Path) -> None:
    path = tmp_path / "x.subset.safetensors"
    write_tensors(path, {"valid": np.ones(1, np.uint8)}, {"format": "zoo-reinforced-data"})
    with pytest.raises(ValueError, match="has format 'zoo-reinforced-data'"):
        Subset.open(path)


def test_a_missing_subset_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="There is no subset"):
        Subset.open(tmp_path / "x.subset.safetensors")


@pytest.mark.parametrize("weight", [0.0, -1.0, float("nan"), float("inf")])
def test_weights_are_positive_numbers(tmp_path: Path, weight: float) -> None:
    path = tmp_path / "x.subset.safetensors"
    with pytest.raises(ValueError, match="A weight"):
        write_subset(path, {"a.tar": (["x"], np.array([weight], np.float32))}, {})
    assert not path.exists()


def test_a_subset_of_nothing_is_not_written(tmp_path: Path) -> None:
    path = tmp_path / "x.subset.safetensors"
    with pytest.raises(ValueError, match="Nothing is left"):
        write_subset(path, {"a.tar": ([], np.zeros(0, np.float32))}, {})
    assert not path.exists()


def test_its_name_says_what_it_is(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"end in \.subset\.safetensors"):
        write_subset(tmp_path / "x.safetensors", KEPT, {})
