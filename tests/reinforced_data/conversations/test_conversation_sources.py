"""Files, shards and mixes are found, and what is wrong with them is said in a sentence.

.venv/bin/pytest tests/reinforced_data/conversations/test_conversation_sources.py
"""

import json
import logging
from pathlib import Path
from typing import Any

import pytest
from tiny_conversations import (
    png,
    record,
    records,
    turns,
    write_images,
    write_json,
    write_tar,
)

from zoo.reinforced_data.conversations.index import ConversationIndex
from zoo.reinforced_data.conversations.problems import REPORTED, Problems
from zoo.reinforced_data.conversations.sources import ConversationSource, conversation_sources


def indexed(data: str, images: Path | None = None) -> tuple[ConversationIndex, int]:
    problems = Problems("")
    (source,) = conversation_sources(data, images)
    return source.index(problems), problems.count


def read_all(index: ConversationIndex) -> list[tuple[list[str], list[bytes]]]:
    found = [index.reader.read(index.place(row)) for row in range(len(index))]
    return [([m.text for m in one.messages], list(one.pictures)) for one in found]


@pytest.mark.parametrize("name", ["a.json", "a.jsonl"])
def test_a_file_is_read_as_it_was_written(tmp_path: Path, name: str) -> None:
    images = write_images(tmp_path / "images")
    several = {"image": ["0.png", "1.png"], "conversations": turns("<image> <image>?", "猫")}
    data = write_json(tmp_path / name, [record(0, image="2.png"), several, record(1)])
    index, problems = indexed(data, images)
    assert problems == 0
    assert index.pictures.tolist() == [1, 2, 0]
    assert index.text_bytes.tolist()[1] == len("<image> <image>?猫".encode())
    assert read_all(index) == [
        (["<image>\nwhat is it?", "number 0"], [png(2)]),
        (["<image> <image>?", "猫"], [png(0), png(1)]),
        (["what is it now?", "number 1"], []),
    ]


def test_shards_are_read_whatever_the_order_of_their_members(tmp_path: Path) -> None:
    one = json.dumps({"conversations": turns("one", "1")}).encode()
    several = json.dumps({"conversations": turns("two", "2")}).encode()
    text = json.dumps({"conversations": turns("none", "0")}).encode()
    members = {
        "b/0.1.png": png(1),
        "b/0.json": several,
        "a.json": one,
        "b/0.0.png": png(0),
        "c.json": text,
        "a.PNG": png(2),
        "c.txt": b"ignored",
    }
    write_tar(tmp_path / "00000.tar", members)
    index, problems = indexed(str(tmp_path))
    assert problems == 0
    assert read_all(index) == [
        (["<image>\n<image>\ntwo", "2"], [png(0), png(1)]),
        (["<image>\none", "1"], [png(2)]),
        (["none", "0"], []),
    ]
    assert index.reader.describe(index.place(0)).startswith("Conversation 'b/0' of shard")


def test_samples_that_cannot_be_used_are_left_out_and_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    images = write_images(tmp_path / "images")
    bad = [
        {"id": "empty"},
        record(1, image="no.png"),
        record(2, image="../a.json"),
        record(3, image="/etc/passwd"),
        record(4, image="sub/../../a.json"),
        record(5) | {"image": 7},
        "text",
    ]
    good = [record(0, image="sub/../0.png")] * len(bad)
    data = write_json(tmp_path / "a.json", good + bad)
    index, problems = indexed(data, images)
    assert len(index) == len(good)
    assert problems == len(bad) == len(caplog.messages)
    expected = ("'empty'", "no picture at", "not inside", "not inside", "not inside", "image 7")
    for part, message in zip((*expected, "at byte"), caplog.messages, strict=True):
        assert part in message
        assert data in message


def test_shard_samples_that_cannot_be_used_are_left_out_and_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    good = json.dumps({"conversations": turns("one", "1")}).encode()
    members = {
        **{f"good{i}.json": good for i in range(5)},
        "plain.png": png(0),
        "meta.json": b'{"caption": "a cat"}',
        "twice.json": good,
        "twice.png": png(0),
        "twice.jpg": png(0),
        "zero.json": good,
        "zero.png": b"",
        "broken.json": b"{",
    }
    index, problems = indexed(write_tar(tmp_path / "00000.tar", members))
    assert len(index) == 5
    assert problems == 5
    expected = ("no .json", '"conversations"', "two members", "0 bytes", "is not JSON")
    for part, message in zip(expected, caplog.messages, strict=True):
        assert part in message


def test_only_the_first_problems_are_reported_but_all_are_counted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    problems, silent = Problems("So."), Problems("So.", silent=True)
    for number in range(REPORTED + 5):
        problems.add(f"Sample {number} is bad.")
        silent.add("Another process says this.")
    assert problems.count == silent.count == REPORTED + 5
    assert caplog.messages[:1] == ["Sample 0 is bad. So."]
    assert len(caplog.messages) == REPORTED + 1
    assert "counted" in caplog.messages[-1]
    assert caplog.records[0].levelno == logging.WARNING


def test_a_mix_names_files_shards_and_weights_from_its_own_folder(tmp_path: Path) -> None:
    write_images(tmp_path / "images")
    write_json(tmp_path / "a.json", records(3))
    write_tar(tmp_path / "00000.tar", {"a.json": json.dumps(record(0)).encode()})
    mix = write_json(
        tmp_path / "mix.json",
        [
            {"data": "a.json", "images": "images", "weight": 0.5},
            {"data": "{00000..00000}.tar"},
            {"data": str(tmp_path / "a.json"), "images": None},
        ],
    )
    sources = conversation_sources(mix, Path("elsewhere"))
    assert sources == (
        ConversationSource(data=str(tmp_path / "a.json"), images=tmp_path / "images", weight=0.5),
        ConversationSource(data=str(tmp_path / "{00000..00000}.tar"), images=Path("elsewhere")),
        ConversationSource(data=str(tmp_path / "a.json"), images=Path("elsewhere")),
    )
    assert [len(source.index(Problems(""))) for source in sources[:2]] == [3, 1]


@pytest.mark.parametrize(
    ("entry", "sentence"),
    [
        ({"data": "a.json", "wieght": 2}, "has the entry"),
        ({"data": 3}, "has the entry"),
        ({"data": "a.json", "weight": "2"}, "has the entry"),
        ({"data": "a.json", "images": 2}, "has the entry"),
        ("a.json", "has the entry"),
        ({"data": "a.json", "weight": 0}, "give one above 0"),
        ({"data": "a.json", "weight": -1}, "give one above 0"),
    ],
)
def test_a_mix_with_a_wrong_entry_is_refused(tmp_path: Path, entry: Any, sentence: str) -> None:
    mix = write_json(tmp_path / "mix.json", [{"data": "b.json"}, entry])
    with pytest.raises(ValueError, match=sentence):
        conversation_sources(mix)


def test_a_missing_image_folder_or_file_is_an_error(tmp_path: Path) -> None:
    data = write_json(tmp_path / "a.json", records(1))
    with pytest.raises(FileNotFoundError, match="no image folder"):
        indexed(data, tmp_path / "images")
    with pytest.raises(ValueError, match="No shard is named"):
        indexed(str(tmp_path / "none.tar"))
    with pytest.raises(FileNotFoundError, match="no file"):
        conversation_sources(str(tmp_path / "none.json"))


def test_without_an_image_folder_pictures_lie_beside_the_file(tmp_path: Path) -> None:
    write_images(tmp_path)
    index, _ = indexed(write_json(tmp_path / "a.json", [record(0, image="1.png")]))
    assert read_all(index)[0][1] == [png(1)]


def test_a_source_of_which_most_cannot_be_used_is_an_error(tmp_path: Path) -> None:
    """As with an image folder of another level, where only text alone would be left."""
    data = write_json(tmp_path / "a.json", records(3, text_only=2))
    with pytest.raises(ValueError, match=r"Of 5 conv.* only 2 can .* has no picture at .*2\.png"):
        indexed(data)


@pytest.mark.parametrize("content", [[], [{"id": 1}], [[], 3]])
def test_a_file_without_any_usable_conversation_is_an_error(tmp_path: Path, content: Any) -> None:
    data = write_json(tmp_path / "a.json", content)
    with pytest.raises(ValueError, match=f"Of {len(content)} conversations .* only 0 can be used"):
        indexed(data)


def test_the_index_does_not_grow_with_the_texts(tmp_path: Path) -> None:
    long = [{"conversations": turns("what " * 1000, "that " * 1000)} for _ in range(10)]
    index, _ = indexed(write_json(tmp_path / "a.json", long))
    assert index.nbytes <= 34 * 10 + 8
