"""An index finds every sample of any tar, reads it alone, and says which ones cannot be used.

Run: .venv/bin/pytest tests/reinforced_data/shards/test_shard_index.py
"""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from tiny_shards import jpeg

from zoo.reinforced_data.shards.index import ShardIndex, content_digest
from zoo.reinforced_data.shards.read import read_shard
from zoo.reinforced_data.shards.tar_header import parse_header
from zoo.reinforced_data.shards.tar_index import index_tar

JPEG = jpeg(0)
FORMATS = {"ustar": tarfile.USTAR_FORMAT, "gnu": tarfile.GNU_FORMAT, "pax": tarfile.PAX_FORMAT}


def write_tar(
    path: Path, members: Iterable[tuple[str, bytes]], tar_format: int = tarfile.PAX_FORMAT
) -> Path:
    with tarfile.open(path, "w", format=tar_format) as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


# The members of a tar


@pytest.mark.parametrize("tar_format", FORMATS)
@pytest.mark.parametrize(
    "name",
    [
        "a.jpg",
        "ü/日本.jpg",
        f"{'folder/' * 20}a.jpg",  # ustar splits it at a slash
        f"{'n' * 99}/{'m' * 60}.jpg",
    ],
)
def test_names_and_places_are_those_of_tarfile(tmp_path: Path, tar_format: str, name: str) -> None:
    members = [("first.txt", b"x" * 511), (name, JPEG), ("last.txt", b"")]
    path = write_tar(tmp_path / "s.tar", members, FORMATS[tar_format])
    with tarfile.open(path) as tar:
        theirs = [(info.name, info.offset_data, info.size) for info in tar]
    assert list(map(tuple, index_tar(path))) == theirs


def test_a_name_that_is_too_long_for_ustar_is_read_from_its_extension(tmp_path: Path) -> None:
    for tar_format in ("gnu", "pax"):
        name = f"{'x' * 300}.jpg"
        path = write_tar(tmp_path / "s.tar", [(name, JPEG), ("b.jpg", JPEG)], FORMATS[tar_format])
        assert [member.name for member in index_tar(path)] == [name, "b.jpg"]


def test_a_global_pax_header_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "s.tar"
    with tarfile.open(path, "w", pax_headers={"comment": "made by git archive"}) as tar:
        info = tarfile.TarInfo("a.jpg")
        info.size = len(JPEG)
        tar.addfile(info, io.BytesIO(JPEG))
    assert [member.name for member in index_tar(path)] == ["a.jpg"]


def test_a_name_that_is_not_utf8_becomes_a_key_that_is(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "s.tar", [("caf\udce9.jpg", JPEG)], tarfile.GNU_FORMAT)
    assert ShardIndex(path).keys == (r"caf\xe9",)


def test_every_byte_of_a_header_counts(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "s.tar", [("a.jpg", JPEG)], tarfile.USTAR_FORMAT)
    block = path.read_bytes()[:512]
    header = parse_header(block)
    assert header is not None
    for place in range(512):
        changed = bytearray(block)
        changed[place] ^= 1
        assert parse_header(bytes(changed)) in (None, header), place
        if not 148 <= place < 156:  # the checksum's own field holds a space and a zero as well
            assert parse_header(bytes(changed)) is None, place


def test_changes_that_add_up_to_256_are_seen(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "s.tar", [("a.jpg", JPEG)], tarfile.USTAR_FORMAT)
    changed = bytearray(path.read_bytes()[:512])
    changed[50] = changed[51] = 0x80
    assert parse_header(bytes(changed)) is None


def test_a_checksum_of_signed_bytes_is_accepted(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "s.tar", [("ü.jpg", JPEG)], tarfile.GNU_FORMAT)
    block = bytearray(path.read_bytes()[:512])
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(byte - 256 * (byte > 127) for byte in block)
    assert parse_header(bytes(block)) is not None


@pytest.mark.parametrize("field", [b"-0000000001\0", b"0x000000001\0", b"00000_00001\0"])
def test_a_size_that_is_no_octal_number_is_no_header(tmp_path: Path, field: bytes) -> None:
    path = write_tar(tmp_path / "s.tar", [("a.jpg", JPEG)], tarfile.USTAR_FORMAT)
    block = bytearray(path.read_bytes()[:512])
    block[124:136], block[148:156] = field, b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    assert parse_header(bytes(block)) is None


# Samples by their place


def test_a_sample_is_what_reading_the_whole_shard_gives(shards: list[Path]) -> None:
    index = ShardIndex(shards[0])
    samples = list(read_shard(shards[0]))
    assert index.keys == tuple(sample.key for sample in samples)
    assert [index.read(i) for i in range(len(index))] == samples
    assert [index.captions(i) for i in range(len(index))] == [one.captions for one in samples]


def test_the_digest_is_that_of_picture_and_captions(tmp_path: Path) -> None:
    members = [
        ("both.jpg", JPEG),
        ("both.txt", b"text"),
        ("both.json", b'{"caption": "json"}'),
        ("json.json", b'{"caption": "json"}'),
        ("json.jpg", JPEG),
        ("json.cls", b"1"),
        ("bare.jpg", JPEG),
    ]
    index = ShardIndex(write_tar(tmp_path / "s.tar", members))
    hashed = [JPEG + b"text", JPEG + b'{"caption": "json"}', JPEG]
    digests = [hashlib.blake2b(data, digest_size=8).digest() for data in hashed]
    assert [index.digest(i) for i in range(3)] == digests
    every_member = {"json": b"{}", "txt": b"text", "cls": b"1", "jpg": JPEG, "mask.png": b"x"}
    assert content_digest(every_member) == digests[0]


UNUSABLE = {
    "two members": [("bad.jpg", JPEG), ("bad.txt", b"kept"), ("bad.jpg", JPEG)],
    "no image": [("bad.txt", b"text")],
    "2 images": [("bad.jpg", JPEG), ("bad.png", JPEG)],
    "0 bytes": [("bad.jpg", b""), ("bad.txt", b"text")],
}


@pytest.mark.parametrize("problem", UNUSABLE)
def test_an_unusable_sample_keeps_its_row_or_stops(tmp_path: Path, problem: str) -> None:
    members = [("a.jpg", JPEG), ("a.txt", b"first"), *UNUSABLE[problem], ("z.jpg", JPEG)]
    path = write_tar(tmp_path / "s.tar", members)
    with pytest.raises(ValueError, match=problem):
        ShardIndex(path)
    index = ShardIndex(path, on_error="skip")
    assert index.keys == ("a", "bad", "z")
    assert list(index.problems) == [1]
    assert "bad" in index.problems[1]
    assert str(path) in index.problems[1]
    for read in (index.read, index.captions, index.digest):
        with pytest.raises(ValueError, match=problem):
            read(1)
    assert index.read(0).captions == ("first",)
    assert index.read(2).image == JPEG


def test_a_damaged_tar_stops_in_either_case(shards: list[Path]) -> None:
    shards[0].write_bytes(shards[0].read_bytes()[:-20000])
    with pytest.raises(ValueError, match="truncated"):
        ShardIndex(shards[0], on_error="skip")


def test_an_index_of_many_samples_is_small(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "s.tar", [(f"{i:09d}.jpg", b"x") for i in range(500)])
    index = ShardIndex(path)
    arrays = [value for value in vars(index).values() if isinstance(value, np.ndarray)]
    assert sum(array.nbytes for array in arrays) <= 48 * 500
    assert not any(isinstance(value, list | dict) and value for value in vars(index).values())
