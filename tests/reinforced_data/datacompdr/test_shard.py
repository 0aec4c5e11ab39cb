"""Apple's shards with their pictures stand in the place of a sidecar.

.venv/bin/pytest tests/reinforced_data/datacompdr/test_shard.py
"""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from apple_shards import (
    AUGMENTATIONS,
    CAPTIONS,
    TEACHERS,
    apple_samples,
    apple_view,
    write_tar,
    write_teachers,
)

from zoo.reinforced_data.datacompdr.import_shard import ImportSettings
from zoo.reinforced_data.datacompdr.import_shards import import_shards
from zoo.reinforced_data.datacompdr.shard import DataCompDRShard, has_datacompdr_members
from zoo.reinforced_data.loading.data_set import DataSource
from zoo.reinforced_data.loading.loader import Loader
from zoo.reinforced_data.shards.index import ShardIndex, load_picture

SAMPLES = 4


@pytest.fixture(params=["npz", "pth.gz"])
def layout(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def shard(layout: str, tmp_path: Path) -> Path:
    return write_tar(tmp_path / "00000.tar", apple_samples(SAMPLES, layout=layout))


def test_every_row_is_what_the_writer_was_given(shard: Path, layout: str) -> None:
    source = DataCompDRShard(shard, teachers=TEACHERS)
    assert (source.header.augmentations, source.header.captions) == (AUGMENTATIONS, CAPTIONS)
    assert source.valid.all() and source.teachers["first"].logit_scale == 70.0
    for i, sample in enumerate(apple_samples(SAMPLES, layout=layout)):
        image, text = (
            torch.as_tensor(sample[layout][name]).float().numpy()
            for name in ("image_emb", "text_emb")
        )
        made = [source.caption(i, c) for c in range(source.header.captions)]
        assert made == json.loads(sample["syn.json"])["syn_text"]
        for a in range(AUGMENTATIONS):
            assert np.array_equal(source.image_embedding("first", i, a), image[a, :24])
            assert np.array_equal(source.image_embedding("second", i, a), image[a, 24:])
        for row in range(1 + CAPTIONS):
            assert np.array_equal(source.text_embedding("second", i, row), text[row, 24:])


def test_the_replay_is_apples_own_to_the_pixel(shard: Path, layout: str) -> None:
    source, index = DataCompDRShard(shard, teachers=TEACHERS), ShardIndex(shard)
    for i, sample in enumerate(apple_samples(SAMPLES, layout=layout)):
        image = load_picture(index, i)[1]
        for a, entry in enumerate(json.loads(sample["paug.json"])["param_aug"]):
            view = source.policy.replay(image, source.augment_params(i, a), 224)
            assert np.array_equal(np.asarray(view), apple_view(sample["jpg"], entry))


def test_it_lists_the_samples_as_the_shard_does_and_survives_a_worker(shard: Path) -> None:
    source = pickle.loads(pickle.dumps(DataCompDRShard(shard, teachers=TEACHERS)))
    source.check_shard(shard, ShardIndex(shard).keys)
    assert source.header.samples == len(source.keys) == SAMPLES
    with pytest.raises(ValueError, match="has other samples than"):
        source.check_shard(shard, source.keys[1:])


def test_a_sample_without_reinforcement_stops_or_is_not_valid(tmp_path: Path) -> None:
    samples = apple_samples(3)
    del samples[1]["npz"]
    shard = write_tar(tmp_path / "00000.tar", samples)
    with pytest.raises(ValueError, match=f"'{samples[1]['__key__']}' of shard .* no embeddings"):
        DataCompDRShard(shard, teachers=TEACHERS)
    skipping = DataCompDRShard(shard, teachers=TEACHERS, on_error="skip")
    assert skipping.valid.tolist() == [True, False, True]


def test_a_sample_unlike_the_first_is_named(tmp_path: Path) -> None:
    samples = apple_samples(2)
    paug = json.loads(samples[1]["paug.json"])["param_aug"]
    samples[1]["paug.json"] = json.dumps({"param_aug": paug[:2]})
    samples[1]["npz"]["image_emb"] = samples[1]["npz"]["image_emb"][:2]
    source = DataCompDRShard(write_tar(tmp_path / "00000.tar", samples), teachers=TEACHERS)
    with pytest.raises(ValueError, match=f"{samples[1]['__key__']}.* has 2 augmentations and 2"):
        source.caption(1, 0)


def batches(data: DataSource) -> list[dict[str, torch.Tensor]]:
    loader = Loader(
        data,
        tokenize=lambda texts: torch.tensor([[len(text), sum(map(ord, text))] for text in texts]),
        image_size=40,
        batch_size=2,
        reinforced=True,
    )
    return [batch for _ in range(2) for batch in loader]


def test_training_from_apples_shard_is_training_from_the_imported_sidecar(
    shard: Path, tmp_path: Path
) -> None:
    teachers = write_teachers(tmp_path / "teachers.json")
    direct = batches(DataSource(shards=shard, published_set=str(teachers)))
    import_shards(shard, ImportSettings(teachers=TEACHERS, storage="fp32"))
    imported = batches(DataSource(shards=shard))
    assert len(direct) == len(imported) == SAMPLES
    for ours, theirs in zip(direct, imported, strict=True):
        assert ours.keys() == theirs.keys() and "teacher_synthetic.second" in ours
        assert all(torch.equal(ours[key], theirs[key]) for key in ours)


def test_apples_shards_are_told_from_others(tmp_path: Path) -> None:
    samples = apple_samples(2)
    assert has_datacompdr_members(write_tar(tmp_path / "a.tar", samples))
    plain = write_tar(tmp_path / "b.tar", samples, without=("npz", "paug.json", "syn.json"))
    assert not has_datacompdr_members(plain)
    with pytest.raises(ValueError, match="has no embeddings"):
        DataCompDRShard(plain, teachers=TEACHERS)
