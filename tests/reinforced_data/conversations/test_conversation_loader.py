"""Conversations come once a pass, always the same way, and a bad one leaves its row blank.

.venv/bin/pytest tests/reinforced_data/conversations/test_conversation_loader.py
"""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_conversations import (
    answers,
    png,
    record,
    records,
    settings,
    turns,
    write_images,
    write_json,
    write_tar,
)
from torch import Tensor

from zoo.reinforced_data.conversations import loader as module
from zoo.reinforced_data.conversations.loader import ConversationLoader
from zoo.reinforced_data.conversations.sources import ConversationSource, conversation_sources

Batch = dict[str, Tensor]


@pytest.fixture
def source(tmp_path: Path) -> ConversationSource:
    """Eighteen conversations, five of them without a picture."""
    images = write_images(tmp_path / "images")
    data = write_json(tmp_path / "a.json", records(13, text_only=5))
    return ConversationSource(data=data, images=images)


def make_loader(*sources: ConversationSource, **changes: Any) -> ConversationLoader:
    return ConversationLoader(sources, **settings(**changes))


def take(loader: ConversationLoader, count: int) -> list[Batch]:
    batches: list[Batch] = []
    while len(batches) < count:
        for batch in loader:
            batches.append(batch)
            if len(batches) == count:
                break
    return batches


def same(first: list[Batch], second: list[Batch]) -> bool:
    return len(first) == len(second) and all(
        a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)
        for a, b in zip(first, second, strict=True)
    )


def test_a_batch_is_padded_on_the_right(source: ConversationSource) -> None:
    for batch in make_loader(source):
        lengths = batch["attention_mask"].sum(1)
        rows, length = batch["input_ids"].shape
        assert rows == 4
        assert length == lengths.max()
        in_row = torch.arange(length) < lengths[:, None]
        assert torch.equal(batch["attention_mask"], in_row.long())
        assert (batch["input_ids"][~in_row] == 0).all()
        assert (batch["labels"][~in_row] == -100).all()
        assert {batch[key].dtype for key in batch} == {torch.int64, torch.uint8}
        assert batch["images"].shape == (4, 1, 3, 64, 64)
        visual = (batch["input_ids"] == -200).sum(1)
        assert torch.equal(visual, 2 * batch["views"])
        assert not batch["images"][batch["views"] == 0].any()


@pytest.mark.parametrize("grouped", [False, True])
def test_an_epoch_shows_every_conversation_once(source: ConversationSource, grouped: bool) -> None:
    loader = make_loader(source, group_by_length=grouped, batch_size=6)
    assert loader.samples == 18
    for _ in range(3):
        assert len(loader) == 3
        assert sorted(a for batch in loader for a in answers(batch) if a is not None) == list(
            range(18)
        )


def test_grouping_keeps_text_alone_apart_and_pads_less(tmp_path: Path) -> None:
    images = write_images(tmp_path / "images")
    data = write_json(tmp_path / "a.json", records(40, text_only=16))
    source = ConversationSource(data=data, images=images)
    padding = {}
    for grouped in (False, True):
        batches = take(make_loader(source, group_by_length=grouped), 14)
        padding[grouped] = sum(int((b["attention_mask"] == 0).sum()) for b in batches)
        if grouped:
            assert all(len(set(batch["views"].tolist())) == 1 for batch in batches)
    assert padding[True] < padding[False] / 3


@pytest.mark.parametrize("workers", [0, 2])
def test_a_loader_goes_on_where_its_state_says(source: ConversationSource, workers: int) -> None:
    options = {"group_by_length": True, "random_image_position": True}
    whole = take(make_loader(source, **options), 12)
    loader = make_loader(source, num_workers=workers, **options)
    assert same(take(loader, 5), whole[:5])
    state = json.loads(json.dumps(loader.state_dict()))
    resumed = make_loader(source, num_workers=workers, **options)
    resumed.load_state_dict(state)
    assert same(take(resumed, 7), whole[5:])
    assert resumed.state_dict() == loader.state_dict() | {"position": 12}


def unpadded(batch: Batch) -> list[list[int]]:
    rows = zip(batch["input_ids"], batch["attention_mask"], strict=True)
    return [ids[mask.bool()].tolist() for ids, mask in rows]


def test_ranks_share_the_batches_of_one(source: ConversationSource) -> None:
    options = {"group_by_length": True, "random_image_position": True}
    whole = take(make_loader(source, **options), 6)
    parts = [
        take(make_loader(source, batch_size=2, rank=rank, world_size=2, **options), 6)
        for rank in range(2)
    ]
    for one, first, second in zip(whole, *parts, strict=True):
        assert unpadded(one) == unpadded(first) + unpadded(second)
        assert torch.equal(one["images"], torch.cat([first["images"], second["images"]]))


@pytest.mark.parametrize(
    "changes", [{"seed": 4}, {"batch_size": 5}, {"group_by_length": True}, {"weight": 0.5}]
)
def test_the_state_of_another_sequence_is_refused(
    source: ConversationSource, changes: dict[str, Any]
) -> None:
    state = make_loader(source).state_dict()
    weight = changes.pop("weight", 1.0)
    other = ConversationSource(data=source.data, images=source.images, weight=weight)
    with pytest.raises(ValueError, match="The loader's state was saved with"):
        make_loader(other, **changes).load_state_dict(state)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_bad_conversation_leaves_its_row_blank_and_no_other_takes_it(
    source: ConversationSource, caplog: pytest.LogCaptureFixture, workers: int
) -> None:
    whole = take(make_loader(source), 9)
    assert source.images is not None
    (source.images / "1.png").write_bytes(png(1)[:50])
    loader = make_loader(source, num_workers=workers)
    batches = take(loader, 9)
    bad = {1, 4, 7, 10}
    for batch, undamaged in zip(batches, whole, strict=True):
        expected = answers(undamaged)
        assert answers(batch) == [None if number in bad else number for number in expected]
        for row in (i for i, number in enumerate(expected) if number in bad):
            assert batch["attention_mask"][row].sum() == 1
            assert batch["views"][row] == 0
            assert not batch["images"][row].any()
    assert loader.skipped == 2 * len(bad) == len(caplog.messages)
    assert loader.left_out == 0
    assert "Conversation 'r" in caplog.messages[0]
    assert "no usable picture 1" in caplog.messages[0]
    assert "Its row is blank." in caplog.messages[0]


def test_what_a_record_shows_is_left_out_before_the_first_batch(
    source: ConversationSource, caplog: pytest.LogCaptureFixture
) -> None:
    assert source.images is not None
    (source.images / "1.png").unlink()
    loader = make_loader(source, batch_size=7)
    assert (loader.samples, loader.left_out) == (14, 4)
    assert sorted(a for b in loader for a in answers(b) if a is not None) == [
        i for i in range(18) if i not in (1, 4, 7, 10)
    ]
    assert loader.skipped == 0
    reported = len(caplog.messages)
    make_loader(source, batch_size=2, rank=1, world_size=2)
    assert len(caplog.messages) == reported == 4


def test_too_long_conversations_are_blank_and_too_many_failures_end_the_run(
    source: ConversationSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    loader = make_loader(source, max_length=10)
    monkeypatch.setattr(module, "_MOST_FAILURES", 10)
    assert answers(take(loader, 1)[0]) == [None] * 4
    with pytest.raises(ValueError, match=r"More than 10 conversations in a row .* is too long"):
        take(loader, 5)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_data_file_that_vanishes_ends_the_run(source: ConversationSource, workers: int) -> None:
    loader = make_loader(source, num_workers=workers)
    Path(source.data).unlink()
    with pytest.raises(FileNotFoundError, match=r"a\.json"):
        take(loader, 1)


def test_files_and_shards_mix_in_one_pass(tmp_path: Path) -> None:
    images = write_images(tmp_path / "images")
    write_json(tmp_path / "a.jsonl", records(10))
    two = {"conversations": turns("<image> <image>?", "number 100")}
    members = {"x.json": json.dumps(two).encode(), "x.0.png": png(0), "x.1.png": png(1)}
    members |= {f"{i}.json": json.dumps(record(i)).encode() for i in range(101, 104)}
    write_tar(tmp_path / "00000.tar", members)
    mix = write_json(
        tmp_path / "mix.json", [{"data": "a.jsonl", "weight": 0.4}, {"data": "00000.tar"}]
    )
    loader = make_loader(*conversation_sources(mix, images))
    assert loader.samples == 8
    first, second = take(loader, 2)
    shown = sorted(a for a in answers(first) + answers(second) if a is not None)
    assert len(shown) == 8
    assert shown[4:] == [100, 101, 102, 103]
    with_two = next(b for b in (first, second) if 100 in answers(b))
    row = answers(with_two).index(100)
    assert with_two["views"][row] == 2
    assert with_two["images"].shape[1] == 2
    assert with_two["images"][row, 1].any()


def test_a_batch_larger_than_a_pass_is_refused(source: ConversationSource) -> None:
    with pytest.raises(ValueError, match="batch_size is 19 but there are 18 usable samples"):
        make_loader(source, batch_size=19)
