"""Every record of a file is found with its very bytes, whatever the window on the file cuts.

.venv/bin/pytest tests/reinforced_data/conversations/test_json_records.py
"""

import json
from pathlib import Path
from typing import Any

import pytest

from zoo.reinforced_data.conversations import json_records as module
from zoo.reinforced_data.conversations.json_records import json_records, parse

RECORDS: list[Any] = [
    {"id": 1, "text": 'plain, with ] and } and " inside'},
    {"id": 2, "text": "ünïcode 猫 😀", "deep": {"list": [1, [2, {"x": None}]]}},
    {"id": 3, "text": "long " * 200},
    {},
]


def found(path: Path) -> list[Any]:
    """The contents, after comparing each with the bytes it is said to lie in."""
    data, contents = path.read_bytes(), []
    for offset, size, content in json_records(path):
        assert json.loads(data[offset : offset + size]) == content
        contents.append(content)
    return contents


@pytest.mark.parametrize("chunk", [1, 7, 64, 1 << 22])
@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("ascii_only", [True, False])
def test_elements_of_a_list_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int, indent: int, ascii_only: bool
) -> None:
    monkeypatch.setattr(module, "_CHUNK", chunk)
    path = tmp_path / "a.json"
    text = json.dumps(RECORDS, indent=indent, ensure_ascii=ascii_only)
    path.write_text(f" {text}\n", "utf-8-sig" if indent else "utf-8")
    assert found(path) == RECORDS


def test_lines_are_found_and_empty_ones_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    lines = [json.dumps(record, ensure_ascii=False) for record in RECORDS]
    path.write_bytes("\r\n\n".join(lines).encode("utf-8-sig"))
    assert found(path) == RECORDS


def test_an_empty_list_has_no_records(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(" [ ] ")
    assert found(tmp_path / "a.json") == []


def test_a_line_or_element_that_is_not_utf_8_is_none_and_the_next_is_read(tmp_path: Path) -> None:
    for name, data in (("a.jsonl", b'{"a": "\xff"}\n{"b": 1}'), ("a.json", b'["\xff", {"b": 1}]')):
        (tmp_path / name).write_bytes(data)
        assert [record.content for record in json_records(tmp_path / name)] == [None, {"b": 1}]


def test_a_line_that_is_not_json_is_none(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"a": 1}\n{"b": \n' + "[" * 100_000 + '\n{"c": 1}\n')
    contents = [record.content for record in json_records(tmp_path / "a.jsonl")]
    assert contents == [{"a": 1}, None, None, {"c": 1}]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "is empty (0 bytes)"),
        (" \n", 'does not begin with "["'),
        ('{"a": 1}', 'does not begin with "["; expected a list of conversations, at byte 0'),
        ('[{"a": 1}, {"b": ', "damaged or incomplete in the element at byte 11"),
        ('[{"a": 1}', 'has no "," or "]" here'),
        ('[{"a": 1} {"b": 2}]', 'has no "," or "]" here'),
        ("[" * 100_000, "damaged or incomplete"),
        ('[{"a": 1}] 3', "goes on behind the end of the list, at byte 11"),
    ],
)
def test_a_damaged_list_is_refused_with_the_place(tmp_path: Path, text: str, sentence: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(ValueError) as error:
        list(json_records(path))
    assert str(path) in str(error.value)
    assert sentence in str(error.value)


def test_an_element_without_end_does_not_fill_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_CHUNK", 100)
    monkeypatch.setattr(module, "_LONGEST", 1000)
    path = tmp_path / "a.json"
    path.write_text('[{"a": "' + "x" * 10_000)
    with path.open("rb") as file:
        with pytest.raises(ValueError, match="element at byte 1"):
            list(module._ListReader(path, file).elements())  # pyright: ignore[reportPrivateUsage]
        assert file.tell() < 5000


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no\.json"):
        list(json_records(tmp_path / "no.json"))


def test_bytes_that_are_not_json_say_so() -> None:
    for data in (b"{", b"\xff", b"[" * 100_000):
        with pytest.raises(ValueError, match="is not JSON"):
            parse(data)
