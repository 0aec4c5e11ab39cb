"""A repaired shard passes the check, and webdataset reads every one of its samples.

Run: .venv/bin/pytest tests/reinforced_data/shards/test_repair.py
"""

from __future__ import annotations

import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from raw_tars import write_tar
from tiny_shards import jpeg
from webdataset.compat import WebDataset

from zoo.reinforced_data.inspection.check import check_shard
from zoo.reinforced_data.shards.read import read_shard
from zoo.reinforced_data.shards.repair import Repair, repair_shard

Members = list[tuple[str, bytes]]
SOUND: Members = [
    (f"{key}.{suffix}", data)
    for i, key in enumerate(("a", "b", "c", "d"))
    for suffix, data in (
        ("jpg", jpeg(i)),
        ("txt", f"text of {key}".encode()),
        ("json", b'{"width": 9}'),
        ("paug.json", b"{}"),
    )
]


def repair(path: Path) -> Repair:
    """Repair, and hold the copy to the check and to webdataset."""
    before = path.read_bytes()
    result = repair_shard(path, path.parent / "repaired")
    assert path.read_bytes() == before
    assert all(str(path) in change for change in result.changes)
    if result.copy is not None:
        assert check_shard(result.copy).findings == ()
        theirs = {one["__key__"]: one for one in WebDataset(str(result.copy), shardshuffle=False)}
        ours = list(read_shard(result.copy))
        assert list(theirs) == [one.key for one in ours]
        assert len(ours) == result.samples
        for one in ours:
            assert {k: v for k, v in theirs[one.key].items() if not k.startswith("__")} == {
                "jpg": one.image,
                "txt": "\n".join(one.captions).encode(),
                **one.extra,
            }
    return result


def keys(result: Repair) -> list[str]:
    assert result.copy is not None
    return [sample.key for sample in read_shard(result.copy)]


def test_a_sound_shard_is_copied_byte_for_byte(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "s.tar", SOUND)
    result = repair(path)
    assert result.changes == ()
    assert result.copy is not None
    assert result.copy.read_bytes() == path.read_bytes()


def spoil_header(path: Path, name: str) -> None:
    with tarfile.open(path) as tar:
        offset = tar.getmember(name).offset
    content = bytearray(path.read_bytes())
    content[offset + 5] ^= 0xFF
    path.write_bytes(content)


def test_reading_goes_on_behind_a_corrupt_header(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "s.tar", SOUND)
    spoil_header(path, "b.jpg")
    result = repair(path)
    assert keys(result) == ["a", "c", "d"]
    assert "without a valid header" in result.changes[0]
    assert "Sample 'b' of" in result.changes[1]
    assert all("no image. It is left out." in change for change in result.changes[1:])


def test_a_sample_keeps_what_is_left_of_it(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "s.tar", SOUND)
    spoil_header(path, "b.json")
    assert keys(repair(path)) == ["a", "b", "c", "d"]


@pytest.mark.parametrize("place", [100, 515])  # in the header, in the data
@pytest.mark.parametrize(("cut_in", "kept"), [("a.txt", ""), ("c.jpg", "ab"), ("d.json", "abcd")])
def test_what_lies_before_a_truncation_is_kept(
    tmp_path: Path, cut_in: str, kept: str, place: int
) -> None:
    path = write_tar(tmp_path / "s.tar", SOUND)
    with tarfile.open(path) as tar:
        offset = tar.getmember(cut_in).offset
    path.write_bytes(path.read_bytes()[: offset + place])
    result = repair(path)
    assert "truncated" in result.changes[0]
    assert (keys(result) if result.copy else []) == list(kept)


def test_a_missing_end_is_written(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "s.tar", SOUND)
    path.write_bytes(path.read_bytes().rstrip(b"\0") + bytes(300))
    assert keys(repair(path)) == ["a", "b", "c", "d"]


def test_two_tars_in_one_file_become_one(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "s.tar", SOUND[:8])
    other = write_tar(tmp_path / "other.tar", SOUND[4:])
    path.write_bytes(path.read_bytes() + other.read_bytes())
    result = repair(path)
    assert keys(result) == ["a", "b", "c", "d"]
    assert any("end mark" in change for change in result.changes)
    assert any("two members b.jpg" in change for change in result.changes)


def test_interleaved_members_come_together(tmp_path: Path) -> None:
    result = repair(write_tar(tmp_path / "s.tar", sorted(SOUND, key=lambda m: m[0][1:])))
    assert keys(result) == ["a", "b", "c", "d"]
    assert len(result.changes) == 4
    assert all("side by side" in change for change in result.changes)


def test_dots_in_keys_become_underscores_that_are_unique(tmp_path: Path) -> None:
    names = ("v1.0", "v1_0", "v1.1", "x.y/v.1")
    members = [
        (f"{name}.{suffix}", data)
        for i, name in enumerate(names)
        for suffix, data in (("jpg", jpeg(i)), ("txt", name.encode()))
    ]
    path = write_tar(tmp_path / "s.tar", members)
    result = repair(path)
    assert keys(result) == ["v1_0_2", "v1_0", "v1_1", "x.y/v_1"]
    assert result.copy is not None
    assert [s.captions[0] for s in read_shard(result.copy)] == list(names)


LEFT_OUT: dict[str, tuple[Members, str]] = {
    "no image": ([("x.txt", b"text")], "no image"),
    "empty image": ([("x.jpg", b""), ("x.txt", b"text")], "zero bytes"),
    "cut picture": ([("x.jpg", jpeg(0)[:500]), ("x.txt", b"text")], "no usable picture"),
    "not a picture": ([("x.jpg", b"<html>"), ("x.txt", b"text")], "no usable picture"),
    "not utf-8": ([("x.jpg", jpeg(0)), ("x.txt", b"caf\xe9")], "not utf-8"),
    "no caption": ([("x.jpg", jpeg(0))], "no caption and no label"),
    "hidden file": ([("._x.jpg", jpeg(0))], "belongs to no sample"),
}


@pytest.mark.parametrize("case", LEFT_OUT)
def test_what_cannot_be_used_is_left_out_and_listed(tmp_path: Path, case: str) -> None:
    members, problem = LEFT_OUT[case]
    result = repair(write_tar(tmp_path / "s.tar", [*SOUND[:4], *members, *SOUND[4:]]))
    assert keys(result) == ["a", "b", "c", "d"]
    assert len(result.changes) == 1
    assert problem in result.changes[0]
    assert "left out" in result.changes[0]


@pytest.mark.parametrize("second", [("b.jpg", jpeg(9)), ("b.png", jpeg(9))])
def test_of_doubled_members_and_pictures_the_first_is_kept(
    tmp_path: Path, second: tuple[str, bytes]
) -> None:
    result = repair(write_tar(tmp_path / "s.tar", [*SOUND[:8], second, *SOUND[8:]]))
    assert result.copy is not None
    assert [s.image for s in read_shard(result.copy)] == [jpeg(i) for i in range(4)]
    assert len(result.changes) == 1
    assert "the first is kept" in result.changes[0]


@pytest.mark.parametrize("content", [b"", b"hello" * 500, bytes(10240)])
def test_where_nothing_can_be_saved_nothing_is_written(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "s.tar"
    path.write_bytes(content)
    result = repair(path)
    assert result.copy is None
    assert result.samples == 0
    assert not list((tmp_path / "repaired").iterdir())


REFUSED: dict[str, Callable[[Path], Path]] = {
    "is the folder of the shards": lambda path: path.parent,
    "already a file": lambda path: path.parent / "full",
}


@pytest.mark.parametrize("problem", REFUSED)
def test_no_file_is_overwritten(tmp_path: Path, problem: str) -> None:
    path = write_tar(tmp_path / "s.tar", SOUND)
    (tmp_path / "full").mkdir()
    (tmp_path / "full/s.tar").write_bytes(b"kept")
    with pytest.raises(ValueError, match=problem):
        repair_shard(path, REFUSED[problem](path))
    assert (tmp_path / "full/s.tar").read_bytes() == b"kept"
