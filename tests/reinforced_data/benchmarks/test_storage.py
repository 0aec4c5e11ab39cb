"""The storage benchmark compares layouts that hold the same, and counts their bytes truly.

.venv/bin/pytest tests/reinforced_data/benchmarks/test_storage.py
"""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_shards import make_samples

from zoo.reinforced_data.augmentation.paug import parse_paug
from zoo.reinforced_data.benchmarks.clip_like import clip_like_embeddings
from zoo.reinforced_data.benchmarks.storage import (
    Pick,
    apple_reader,
    measure_storage,
    sidecar_reader,
)
from zoo.reinforced_data.benchmarks.stored_layouts import (
    AUGMENTATIONS,
    CAPTIONS,
    TEACHERS,
    Layouts,
    write_layouts,
)
from zoo.reinforced_data.shards.write import write_shards

SAMPLES = 6
ROW_BYTES = 768 + 2  # int8 and a float16 scale


@pytest.fixture(scope="module")
def layouts(tmp_path_factory: pytest.TempPathFactory) -> Layouts:
    folder = tmp_path_factory.mktemp("layouts")
    write_shards(make_samples(SAMPLES), folder / "shards")
    return write_layouts([str(folder / "shards")], folder, SAMPLES)


def test_all_layouts_give_the_same_training_sample(layouts: Layouts) -> None:
    ours, npz, bf16 = (
        sidecar_reader(layouts.sidecar),
        apple_reader(layouts.npz),
        apple_reader(layouts.pth_gz),
    )
    for pick in (Pick(0, 0, 0), Pick(SAMPLES - 1, AUGMENTATIONS - 1, CAPTIONS - 1)):
        expected = npz(pick)
        for read, tolerance in ((bf16, 2**-8), (ours, 0.51 / 127)):
            found = read(pick)
            assert found.caption == expected.caption
            for kind in ("image", "text", "synthetic"):
                pairs = zip(getattr(found, kind), getattr(expected, kind), strict=True)
                for a, b in pairs:
                    assert a.shape == b.shape == (768,) and a.dtype == np.float32
                    assert np.abs(a - b).max() <= tolerance * np.abs(b).max()


def test_the_recorded_augmentations_are_the_same(layouts: Layouts) -> None:
    sample = make_samples(SAMPLES)[2]
    pick = Pick(2, 4, 0)
    entry = apple_reader(layouts.npz)(pick).augmentation
    size = Image.open(io.BytesIO(sample.image)).size
    params = parse_paug(json.dumps({"param_aug": [entry]}), *size)[0]
    assert np.allclose(params, sidecar_reader(layouts.sidecar)(pick).augmentation, atol=1e-6)


def test_bytes_are_counted_as_they_lie_in_the_files(layouts: Layouts) -> None:
    ours, npz, bf16 = measure_storage(layouts, rounds=1, picks=20)
    rows = AUGMENTATIONS + 1 + CAPTIONS
    assert ours.embedding_bytes == len(TEACHERS) * rows * ROW_BYTES
    assert ours.stored_bytes == layouts.sidecar.stat().st_size / SAMPLES
    read = len(TEACHERS) * 3 * ROW_BYTES + 9 * 4 + 2 * 8
    assert read < ours.read_bytes < read + 40
    assert 6 < ours.read_pages < 25
    for row, path in ((npz, layouts.npz), (bf16, layouts.pth_gz)):
        # A tar ends with two empty blocks and is filled up to 10 kB.
        assert 1024 <= path.stat().st_size - row.stored_bytes * SAMPLES < 1024 + 10240
        assert row.embedding_bytes + 3 * 512 < row.stored_bytes == row.read_bytes
    assert npz.embedding_bytes > 2 * bf16.embedding_bytes > 3 * ours.embedding_bytes


def test_our_reader_costs_a_fraction_of_apples(layouts: Layouts) -> None:
    rounds: list[tuple[int, int]] = []
    ours, npz, bf16 = measure_storage(
        layouts, rounds=3, picks=60, on_round=lambda *place: rounds.append(place)
    )
    assert rounds == [(0, 3), (1, 3), (2, 3), (3, 3)]
    assert ours.cpu_us_lowest <= ours.cpu_us <= ours.cpu_us_highest
    assert 5 * ours.cpu_us_lowest < min(npz.cpu_us_lowest, bf16.cpu_us_lowest)


def test_clip_like_embeddings_have_clips_cosines() -> None:
    images, texts = clip_like_embeddings(np.random.default_rng(0), 512, views=2, texts=2, dim=768)
    assert images.shape == texts.shape == (512, 2, 768) and images.dtype == np.float32
    assert np.allclose(np.linalg.norm(images, axis=-1), 1, atol=1e-5)
    cosines = images[:, 0] @ texts[:, 0].T
    assert np.diag(cosines).mean() == pytest.approx(0.36, abs=0.02)
    assert cosines[~np.eye(512, dtype=bool)].mean() == pytest.approx(0.15, abs=0.02)
    assert (images[:, 0] * images[:, 1]).sum(1).mean() == pytest.approx(0.85, abs=0.02)


def test_photos_are_spread_over_the_shards_and_borrow_captions(tmp_path: Path) -> None:
    samples = make_samples(8)
    samples[:4] = [replace(sample, captions=()) for sample in samples[:4]]
    write_shards(samples, tmp_path / "shards", samples_per_shard=4)
    layouts = write_layouts([str(tmp_path / "shards")], tmp_path, 4)
    assert layouts.samples == 4
    read = sidecar_reader(layouts.sidecar)
    captions = [[read(Pick(i, 0, c)).caption for c in range(CAPTIONS)] for i in range(4)]
    fourth, sixth = samples[4].captions, samples[6].captions
    assert captions[2] == captions[0] == [*fourth, *fourth, fourth[0]]
    assert captions[3] == captions[1] == [*sixth, *sixth, sixth[0]]


def test_shards_without_captions_are_refused(tmp_path: Path) -> None:
    write_shards([replace(s, captions=()) for s in make_samples(2)], tmp_path / "shards")
    with pytest.raises(ValueError, match="have no captions"):
        write_layouts([str(tmp_path / "shards")], tmp_path, 2)
