"""Ranks, mixtures, subsets, Apple's members, URLs: what a loader reads, and what it refuses.

.venv/bin/pytest tests/reinforced_data/loading/test_loader_data.py
"""

from __future__ import annotations

import io
import json
from collections import Counter
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from apple_shards import TEACHERS, apple_samples, write_tar
from PIL import Image
from reinforced_shards import add_sidecar
from tiny_shards import make_samples
from torch import Tensor

from zoo.models.preprocess import open_image
from zoo.reinforced_data.augmentation.policy import AugmentationPolicy
from zoo.reinforced_data.curation.subset import write_subset
from zoo.reinforced_data.datacompdr.shard import DataCompDRShard
from zoo.reinforced_data.loading.data_set import DataSource
from zoo.reinforced_data.loading.loader import Data, Loader
from zoo.reinforced_data.loading.plan import WINDOW
from zoo.reinforced_data.loading.views import upright_size
from zoo.reinforced_data.shards.sample import Sample
from zoo.reinforced_data.shards.write import write_shards
from zoo.reinforced_data.sidecars.sidecar import Sidecar, sidecar_path

COUNT = 12


def tokenize(texts: list[str]) -> Tensor:
    """The number that a caption ends with; 100 + its length for a synthetic caption."""
    last = [text.rpartition(" ")[2] for text in texts]
    return torch.tensor(
        [[int(w) if w.isdigit() else 100 + len(t)] for t, w in zip(texts, last, strict=True)]
    )


def write_numbered(folder: Path, *, first: int = 0, per_shard: int = 5) -> list[Path]:
    samples = [
        Sample(key=f"photo{i:03d}", image=sample.image, captions=(f"thing number {first + i}",))
        for i, sample in enumerate(make_samples(COUNT))
    ]
    return write_shards(samples, folder, samples_per_shard=per_shard)


@pytest.fixture
def shards(tmp_path: Path) -> list[Path]:
    """Twelve samples in shards of five, five and two, with sidecars."""
    paths = write_numbered(tmp_path / "shards")
    for path in paths:
        add_sidecar(path)
    return paths


def make_loader(data: Data, **changes: Any) -> Loader:
    settings: dict[str, Any] = {"tokenize": tokenize, "image_size": 32, "batch_size": 3, "seed": 7}
    return Loader(data, **(settings | changes))


def take(loader: Loader, count: int) -> list[dict[str, Tensor]]:
    found: list[dict[str, Tensor]] = []
    while True:
        for batch in loader:
            found.append(batch)
            if len(found) == count:
                return found


def shown(batches: list[dict[str, Tensor]]) -> list[int]:
    return [int(number) for batch in batches for number in batch["text"][:, 0]]


def test_all_ranks_together_make_the_batches_of_one(shards: list[Path]) -> None:
    changes: dict[str, Any] = {"reinforced": True}
    alone = take(make_loader(shards, batch_size=5, **changes), 7)  # straddles two passes
    assert sorted(shown(alone)[:COUNT]) == list(range(COUNT))
    ranks = [
        take(make_loader(shards, batch_size=1, rank=rank, world_size=5, **changes), 7)
        for rank in range(5)
    ]
    for step, whole in enumerate(alone):
        for key, value in whole.items():
            assert torch.equal(torch.cat([batches[step][key] for batches in ranks]), value)


def test_a_run_goes_on_with_another_number_of_ranks_and_workers(shards: list[Path]) -> None:
    undisturbed = take(make_loader(shards, batch_size=4), 6)
    before = make_loader(shards, batch_size=4, num_workers=1)
    take(before, 2)
    state = json.loads(json.dumps(before.state_dict()))
    ranks = [make_loader(shards, batch_size=2, rank=rank, world_size=2) for rank in range(2)]
    for loader in ranks:
        loader.load_state_dict(state)
    halves = [take(loader, 4) for loader in ranks]
    for step, whole in enumerate(undisturbed[2:]):
        together = torch.cat([half[step]["image"] for half in halves])
        assert torch.equal(together, whole["image"])
    with pytest.raises(ValueError, match="saved with global_batch_size = 4 but it is 6"):
        make_loader(shards, batch_size=3, world_size=2).load_state_dict(state)


def test_data_sets_are_mixed_by_weight(tmp_path: Path) -> None:
    write_numbered(tmp_path / "a")
    write_numbered(tmp_path / "b", first=50)
    sources = [
        DataSource(shards=tmp_path / "a", weight=3),
        DataSource(shards=tmp_path / "b", weight=1),
    ]
    loader = make_loader(sources, batch_size=16, image_size=8)
    numbers = shown(take(loader, 64))  # one block of 1024
    assert loader.samples == 2 * COUNT
    assert sum(number < 50 for number in numbers) == 768
    counts = Counter(numbers)
    assert {counts[number] for number in range(COUNT)} == {64}
    assert {counts[50 + number] for number in range(COUNT)} <= {21, 22}
    heavier = [sources[0], DataSource(shards=tmp_path / "b", weight=2)]
    with pytest.raises(ValueError, match="saved with data ="):
        make_loader(heavier, batch_size=16).load_state_dict(loader.state_dict())


def test_a_subset_shows_its_samples_as_often_as_it_says(shards: list[Path], tmp_path: Path) -> None:
    subset = tmp_path / "some.subset.safetensors"
    weights = np.array([1, 2.5, 0.5], np.float32)
    kept = {
        "00000.tar": (["photo001", "photo003", "photo004"], weights),
        "00001.tar": ([], np.empty(0, np.float32)),
        "00002.tar": (["photo011"], np.array([1], np.float32)),
    }
    write_subset(subset, kept, {})
    source = DataSource(shards=shards, subset=subset)
    for reinforced in (False, True):
        loader = make_loader(source, batch_size=1, reinforced=reinforced)
        assert loader.samples == 5
        passes = [Counter(shown(list(loader))) for _ in range(8)]
        assert all(one[1] == one[11] == 1 and one[3] in (2, 3) for one in passes)
        assert {one[3] + one[4] for one in passes} == {3} and len({one[4] for one in passes}) == 2


def test_repeated_showings_differ(shards: list[Path], tmp_path: Path) -> None:
    subset = tmp_path / "some.subset.safetensors"
    kept = {shard.name: ([], np.empty(0, np.float32)) for shard in shards[1:]}
    write_subset(subset, kept | {"00000.tar": (["photo001"], np.array([4], np.float32))}, {})
    (batch,) = make_loader(DataSource(shards=shards, subset=subset), batch_size=4)
    assert len({image.numpy().tobytes() for image in batch["image"]}) == 4


def test_a_subset_of_other_shards_is_refused(shards: list[Path], tmp_path: Path) -> None:
    subset = tmp_path / "some.subset.safetensors"
    kept = {shard.name: (["photo099"], np.ones(1, np.float32)) for shard in shards}
    write_subset(subset, kept, {})
    loader = make_loader(DataSource(shards=shards, subset=subset), batch_size=1)
    with pytest.raises(ValueError, match=r"keeps sample 'photo099' of shard '0000\d\.tar'"):
        next(iter(loader))
    write_subset(subset, {"00000.tar": (["photo000"], np.ones(1, np.float32))}, {})
    with pytest.raises(ValueError, match=r"made without the shard '00001\.tar'"):
        make_loader(DataSource(shards=shards, subset=subset))


def test_a_subset_may_not_keep_what_is_not_stored(shards: list[Path], tmp_path: Path) -> None:
    add_sidecar(shards[0], change=lambda rows: rows.valid.__setitem__(2, False))
    subset = tmp_path / "some.subset.safetensors"
    write_subset(subset, {"00000.tar": (["photo002"], np.ones(1, np.float32))}, {})
    source = DataSource(shards=shards[0], subset=subset)
    with pytest.raises(ValueError, match=r"nothing is stored: Sample 'photo002' of shard .*00000"):
        next(iter(make_loader(source, batch_size=1, reinforced=True)))


@pytest.mark.parametrize("ratio", [0.0, 0.25, 1.0])
def test_one_caption_a_picture_is_synthetic_as_often_as_asked(
    shards: list[Path], ratio: float
) -> None:
    loader = make_loader(shards, reinforced=True, synthetic_ratio=ratio, batch_size=COUNT)
    sidecars = [Sidecar.open(sidecar_path(shard)) for shard in shards]
    synthetic = 0
    for batch in take(loader, 12):
        assert not any("synthetic" in key for key in batch)
        for j, number in enumerate(batch["text"][:, 0].tolist()):
            rows = [0] if number < 100 else [1, 2]
            synthetic += number >= 100
            given = batch["teacher_text.sage"][j].numpy()
            stored = [s.text_embedding("sage", i, r) for s in sidecars for i, r in _all(s, rows)]
            assert any((given == one).all() for one in stored)
    assert synthetic / (12 * COUNT) == pytest.approx(ratio, abs=0.15)


def _all(sidecar: Sidecar, rows: list[int]) -> list[tuple[int, int]]:
    return [(i, row) for i in range(len(sidecar.keys)) for row in rows]


def test_options_that_cannot_be_are_refused(shards: list[Path], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"synthetic_ratio is 1\.5"):
        make_loader(shards, reinforced=True, synthetic_ratio=1.5)
    with pytest.raises(ValueError, match="Plain data have no synthetic captions"):
        make_loader(shards, synthetic_ratio=0.5)
    with pytest.raises(ValueError, match="batch_size is 3 on 5 ranks but there are 12"):
        make_loader(shards, world_size=5)
    with pytest.raises(ValueError, match=r"Both sidecars \(a\) and published_set \(dfndr\)"):
        DataSource(shards=shards, sidecars="a", published_set="dfndr")
    with pytest.raises(ValueError, match="is a URL; name a cache folder"):
        make_loader("memory://nowhere/0.tar")
    others = write_numbered(tmp_path / "others")
    for shard in others:
        add_sidecar(shard, teachers=("owl.tiny",))
    sources = [DataSource(shards=shards), DataSource(shards=others)]
    with pytest.raises(ValueError, match=r"holds teachers sage .* but '.*others.* holds teachers"):
        make_loader(sources, reinforced=True)


def test_fast_pixels_are_close_to_the_exact_ones_of_the_same_views(shards: list[Path]) -> None:
    for reinforced in (False, True):
        policy = None if reinforced else AugmentationPolicy(num_ops=0)
        changes: dict[str, Any] = {"reinforced": reinforced, "policy": policy}
        exact, fast = (
            take(make_loader(shards, pixels=pixels, num_workers=workers, **changes), 4)
            for pixels, workers in (("exact", 0), ("fast", 1))
        )
        for one, other in zip(exact, fast, strict=True):
            assert torch.equal(one["text"], other["text"])
            difference = (one["image"].float() - other["image"].float()).abs()
            assert difference.mean() < 2 and (reinforced or difference.max() <= 4)


@pytest.mark.parametrize("layout", ["npz", "pth.gz"])
def test_apples_members_are_read_from_the_shard(tmp_path: Path, layout: str) -> None:
    shard = write_tar(tmp_path / "00000.tar", apple_samples(4, layout=layout))
    listed = tmp_path / "teachers.json"
    entries = [asdict(teacher) for teacher in TEACHERS]
    listed.write_text(json.dumps([{k: e[k] for k in e if k != "storage"} for e in entries]))
    source = DataSource(shards=shard, published_set=str(listed))
    loader = make_loader(source, reinforced=True, batch_size=4, tokenize=_lengths)
    (batch,) = loader
    assert list(loader.teachers) == ["first", "second"]
    stored = DataCompDRShard(shard, teachers=TEACHERS)
    for j in range(4):
        images = [stored.image_embedding("second", i, a) for i in range(4) for a in range(3)]
        given = batch["teacher_image.second"][j].numpy()
        assert sum((given == one).all() for one in images) == 1
    assert batch["synthetic_text"].shape == batch["text"].shape == (4, 1)
    with pytest.raises(FileNotFoundError, match=r"00000\.reinforced"):
        make_loader(shard, reinforced=True)


def _lengths(texts: list[str]) -> Tensor:
    return torch.tensor([[len(text)] for text in texts])


def test_sidecars_may_lie_in_a_folder_of_their_own(shards: list[Path], tmp_path: Path) -> None:
    expected = take(make_loader(shards, reinforced=True), 2)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for shard in shards:
        sidecar_path(shard).rename(elsewhere / sidecar_path(shard).name)
    source = DataSource(shards=shards, sidecars=elsewhere)
    found = take(make_loader(source, reinforced=True), 2)
    assert all(torch.equal(a[k], b[k]) for a, b in zip(expected, found, strict=True) for k in a)


def test_shards_and_sidecars_at_a_url_are_copied_and_read(
    shards: list[Path], tmp_path: Path
) -> None:
    expected = take(make_loader(shards, reinforced=True), 5)
    url = f"file://{shards[0].parent}/{{00000..00002}}.tar"
    cache = tmp_path / "cache"
    found = take(make_loader(url, reinforced=True, cache_folder=cache), 5)
    assert all(torch.equal(a[k], b[k]) for a, b in zip(expected, found, strict=True) for k in a)
    assert len(list(cache.rglob("*.tar"))) == 3


def test_only_the_shards_of_a_window_stay_open(tmp_path: Path) -> None:
    paths = write_shards(make_samples(2 * WINDOW), tmp_path / "many", samples_per_shard=1)
    assert len(paths) == 2 * WINDOW
    loader = make_loader(paths, batch_size=1, tokenize=_lengths, image_size=8)
    assert len(list(loader)) == 2 * WINDOW
    (data_set,) = loader._data_sets
    assert len(data_set._open) == WINDOW


def test_a_shard_that_shrank_since_the_start_is_named(shards: list[Path], tmp_path: Path) -> None:
    loader = make_loader(shards[:1], batch_size=1)
    write_shards(make_samples(3), tmp_path / "new")[0].replace(shards[0])
    with pytest.raises(ValueError, match=r"00000\.tar has 3 usable samples but had 5"):
        next(iter(loader))


def test_after_an_error_the_same_batch_comes_again(shards: list[Path], tmp_path: Path) -> None:
    expected = take(make_loader(shards), 3)
    loader = make_loader(shards, num_workers=1)
    take(loader, 1)
    loader._stream = None
    aside = [shard.rename(tmp_path / shard.name) for shard in shards]
    with pytest.raises(FileNotFoundError, match=r"There is no shard"):
        next(iter(loader))
    for path, shard in zip(aside, shards, strict=True):
        path.rename(shard)
    found = take(loader, 2)
    loader.load_state_dict(loader.state_dict())  # ends the worker; pytest keeps the loader alive
    assert all(
        torch.equal(a["image"], b["image"]) for a, b in zip(expected[1:], found, strict=True)
    )


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_the_upright_size_is_that_of_the_decoded_picture(kind: str) -> None:
    image = Image.new("RGB", (30, 20))
    for orientation in (1, 3, 6, 8):
        exif = Image.Exif()
        exif[0x0112] = orientation
        content = io.BytesIO()
        image.save(content, kind, exif=exif)
        assert upright_size(content.getvalue()) == open_image(content.getvalue()).size
    with pytest.raises(ValueError, match="not an image"):
        upright_size(b"nothing of the kind")


def test_labels_are_in_the_batch_beside_captions_and_without(tmp_path: Path) -> None:
    samples = [replace(s, label=i * i) for i, s in enumerate(make_samples(4))]
    bare = [replace(sample, captions=()) for sample in samples]
    for name, written in (("both", samples), ("bare", bare)):
        loader = make_loader(
            write_shards(written, tmp_path / name), batch_size=4, tokenize=_lengths
        )
        (batch,) = take(loader, 1)
        assert batch["label"].dtype == torch.int64
        assert sorted(batch["label"].tolist()) == [0, 1, 4, 9]
        assert ("text" in batch) == (name == "both")


def test_a_batch_in_which_one_label_is_missing_has_none(tmp_path: Path) -> None:
    first, *others = make_samples(4)
    samples = [first, *(replace(sample, label=1) for sample in others)]
    loader = make_loader(write_shards(samples, tmp_path / "mixed"), batch_size=4, tokenize=_lengths)
    assert take(loader, 1)[0].keys() == {"image", "text"}


def test_a_sample_without_caption_and_label_is_named(tmp_path: Path) -> None:
    samples = [replace(sample, captions=()) for sample in make_samples(2)]
    loader = make_loader(write_shards(samples, tmp_path / "bare"), batch_size=2)
    with pytest.raises(
        ValueError, match=r"photo00\d' of shard .* has no caption and no label; add"
    ):
        take(loader, 1)
