"""Web-like captions are wrong as often as asked, and the same for the same seed.

Run: pytest tests/training/benchmarks/test_web_captions.py
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tiny_shards import make_samples

from zoo.reinforced_data.shards.read import read_shard
from zoo.reinforced_data.shards.sample import Sample
from zoo.reinforced_data.shards.write import write_shards
from zoo.training.benchmarks.web_captions import UNINFORMATIVE, write_web_like_shards

NAMES = ("cat", "dog", "ship")


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    picture = make_samples()[0].image
    samples = [Sample(key=f"{i:03}", image=picture, label=i % 3) for i in range(400)]
    write_shards(samples, tmp_path / "labelled", samples_per_shard=200)
    return tmp_path / "labelled"


def written(source: Path, folder: Path, *, noise: float, pictures: int = 400) -> list[Sample]:
    write_web_like_shards(
        source,
        folder,
        class_names=NAMES,
        templates=("a {}.", "one {}."),
        pictures=pictures,
        noise=noise,
    )
    return [sample for path in sorted(folder.glob("*.tar")) for sample in read_shard(path)]


def names_its_class(sample: Sample) -> bool:
    assert sample.label is not None
    return sample.captions[0] in {f"{word} {NAMES[sample.label]}." for word in ("a", "one")}


def test_without_noise_every_caption_names_the_class(labelled: Path, tmp_path: Path) -> None:
    samples = written(labelled, tmp_path / "clean", noise=0.0, pictures=60)
    assert len(samples) == 60
    assert all(names_its_class(sample) for sample in samples)
    assert [sample.key for sample in samples] != sorted(sample.key for sample in samples)


def test_noise_is_half_nothing_said_and_half_a_class_at_random(
    labelled: Path, tmp_path: Path
) -> None:
    samples = written(labelled, tmp_path / "noisy", noise=0.6)
    silent = sum(sample.captions[0] in UNINFORMATIVE for sample in samples)
    right = sum(names_its_class(sample) for sample in samples)
    assert silent / 400 == pytest.approx(0.3, abs=0.07)
    assert right / 400 == pytest.approx(0.4 + 0.3 / 3, abs=0.07)


def test_the_same_seed_writes_the_same_bytes(labelled: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        written(labelled, folder, noise=0.5, pictures=30)
    assert (first / "00000.tar").read_bytes() == (second / "00000.tar").read_bytes()


def test_missing_labels_and_pictures_are_said(labelled: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds 400 pictures"):
        written(labelled, tmp_path / "more", noise=0.0, pictures=401)
    unlabelled = [replace(sample, label=None) for sample in make_samples()]
    write_shards(unlabelled, tmp_path / "unlabelled")
    with pytest.raises(ValueError, match="has no label"):
        written(tmp_path / "unlabelled", tmp_path / "out", noise=0.0, pictures=2)
