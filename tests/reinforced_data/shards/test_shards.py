"""Shards are found, read without silent loss and written as plain webdataset.

Run: .venv/bin/pytest tests/reinforced_data/shards/test_shards.py
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from PIL import Image
from raw_tars import write_tar
from webdataset.compat import WebDataset

from zoo.reinforced_data.shards.find import find_shards
from zoo.reinforced_data.shards.read import read_shard
from zoo.reinforced_data.shards.sample import Sample
from zoo.reinforced_data.shards.write import write_shards


def picture(format: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4), (200, 30, 30)).save(buffer, format=format)
    return buffer.getvalue()


PNG = picture()


def samples(count: int) -> list[Sample]:
    return [
        Sample(key=f"{i:03d}", image=PNG, captions=(f"number {i}", "a red square"), label=i)
        for i in range(count)
    ]


@pytest.fixture
def shard(tmp_path: Path) -> Path:
    return write_shards(samples(20), tmp_path / "good")[0]


def header_offset(path: Path, number: int) -> int:
    with tarfile.open(path) as tar:
        return tar.getmembers()[number].offset


# Reading


def test_members_become_a_sample(tmp_path: Path) -> None:
    members = {
        "a/b.JPG": picture("JPEG"),
        "a/b.txt": b"\xef\xbb\xbfone\r\n\n two \n",
        "a/b.cls": b"7\n",
    }
    extra = {"a/b.json": b"[1]", "a/b.paug.json": b"{}", "a/b.mask.png": PNG}
    (sample,) = read_shard(write_tar(tmp_path / "s.tar", (members | extra).items()))
    assert sample == Sample(
        key="a/b",
        image=members["a/b.JPG"],
        captions=("one", "two"),
        label=7,
        extra={"json": b"[1]", "paug.json": b"{}", "mask.png": PNG},
    )


@pytest.mark.parametrize(
    ("json", "captions"),
    [
        (b'{"caption": "a  dog", "text": "ignored"}', ("a dog",)),
        (b'{"captions": ["a dog", "", "a cat"]}', ("a dog", "a cat")),
        (b'{"caption": null, "text": "a dog"}', ("a dog",)),
        (b'{"url": "x"}', ()),
    ],
)
def test_json_gives_the_captions_where_no_text_does(
    tmp_path: Path, json: bytes, captions: tuple[str, ...]
) -> None:
    path = write_tar(tmp_path / "s.tar", [("a.png", PNG), ("a.json", json)])
    (sample,) = read_shard(path)
    assert sample.captions == captions
    assert sample.extra == {"json": json}


def test_dots_in_keys_do_not_merge_samples(tmp_path: Path) -> None:
    names = ["v1.0", "v1.1", "v1"]
    members = [(f"{n}.{s}", d) for n in names for s, d in (("png", PNG), ("txt", n.encode()))]
    path = write_tar(tmp_path / "s.tar", [*members, ("v1.0.mask.png", PNG)])
    found = {sample.key: (sample.captions, set(sample.extra)) for sample in read_shard(path)}
    assert found == {
        "v1.0": (("v1.0",), {"mask.png"}),
        "v1.1": (("v1.1",), set()),
        "v1": (("v1",), set()),
    }


def test_interleaved_members_are_grouped(tmp_path: Path) -> None:
    members = [("b.txt", b"b"), ("a.png", PNG), ("b.png", PNG), ("a.txt", b"a")]
    found = [(s.key, s.captions) for s in read_shard(write_tar(tmp_path / "s.tar", members))]
    assert found == [("b", ("b",)), ("a", ("a",))]


def test_folders_hidden_files_and_bare_names_are_skipped(tmp_path: Path) -> None:
    path = tmp_path / "s.tar"
    with tarfile.open(path, "w") as tar:
        folder = tarfile.TarInfo("d")
        folder.type = tarfile.DIRTYPE
        tar.addfile(folder)
        for name in ("d/._a.png", "README", "d/a.png"):
            info = tarfile.TarInfo(name)
            info.size = len(PNG)
            tar.addfile(info, io.BytesIO(PNG))
    assert [sample.key for sample in read_shard(path)] == ["d/a"]


# Damage: each is one sentence that names the shard


def cut(shard: Path, at: int) -> None:
    shard.write_bytes(shard.read_bytes()[:at])


def overwrite(shard: Path, at: int, data: bytes) -> None:
    content = bytearray(shard.read_bytes())
    content[at : at + len(data)] = data
    shard.write_bytes(content)


def append(shard: Path, data: bytes) -> None:
    shard.write_bytes(shard.read_bytes() + data)


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "empty": (lambda path: path.write_bytes(b""), "is empty"),
    "text": (lambda path: path.write_bytes(b"hello" * 500), "not a plain tar"),
    "cut inside data": (lambda path: cut(path, header_offset(path, 31) + 520), "truncated"),
    "cut inside a header": (lambda path: cut(path, header_offset(path, 31) + 100), "truncated"),
    "cut between members": (lambda path: cut(path, header_offset(path, 30)), "truncated"),
    "damaged header": (lambda path: overwrite(path, header_offset(path, 30) + 3, b"?"), "goes on"),
    "zeroed header": (lambda path: overwrite(path, header_offset(path, 30), bytes(512)), "goes on"),
    "two tars in one": (lambda path: append(path, path.read_bytes()), "goes on"),
    "only zeros": (lambda path: path.write_bytes(bytes(10240)), "holds no samples"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_shard_fails_before_its_first_sample(shard: Path, damage: str) -> None:
    harm, problem = DAMAGES[damage]
    harm(shard)
    with pytest.raises(ValueError, match=problem) as caught:
        read_shard(shard)
    assert str(shard) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_error_names_the_byte_of_the_damage(shard: Path) -> None:
    offset = header_offset(shard, 30)
    overwrite(shard, offset + 3, b"?")
    with pytest.raises(ValueError, match=f"byte {offset} "):
        read_shard(shard)


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere\.tar"):
        read_shard(tmp_path / "nowhere.tar")


@pytest.mark.parametrize(
    ("members", "problem"),
    [
        ([("a.png", PNG), ("a.png", PNG)], r"two members a\.png"),
        ([("a.png", PNG), ("a.PNG", PNG)], r"two members a\.png"),
        ([("a.png", PNG), ("a.jpg", PNG)], "2 images"),
        ([("a.png", b"")], "image of 0 bytes"),
        ([("a.png", PNG), ("b.txt", b"b")], "'b' of shard .* has no image"),
        ([("a.png", PNG), ("a.txt", b"\xff\xfe")], "not utf-8"),
        ([("a.png", PNG), ("a.cls", b"")], "expected an integer"),
        ([("a.png", PNG), ("a.cls", b"dog")], "expected an integer"),
        ([("a.png", PNG), ("a.json", b"{")], "not JSON"),
        ([("a.png", PNG), ("a.json", b'{"caption": 3}')], "neither a text nor a list"),
    ],
)
def test_a_bad_sample_is_one_clear_error(
    tmp_path: Path, members: list[tuple[str, bytes]], problem: str
) -> None:
    path = write_tar(tmp_path / "s.tar", members)
    with pytest.raises(ValueError, match=problem) as caught:
        list(read_shard(path))
    assert str(path) in str(caught.value)


def test_a_link_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "s.tar"
    with tarfile.open(path, "w") as tar:
        info = tarfile.TarInfo("a.png")
        info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(info)
    with pytest.raises(ValueError, match=r"'a\.png', a link"):
        read_shard(path)


# Writing


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    written = [
        Sample(key="x/a", image=picture("JPEG"), captions=("eins", "zwei ü"), label=0),
        Sample(key="x/b", image=picture("WEBP"), extra={"json": b"{}", "mask.png": PNG}),
    ]
    (path,) = write_shards(written, tmp_path)
    assert list(read_shard(path)) == written


def test_plain_webdataset_reads_the_same_samples(shard: Path) -> None:
    theirs = list(WebDataset(str(shard), shardshuffle=False))
    ours = list(read_shard(shard))
    assert [one["__key__"] for one in theirs] == [one.key for one in ours]
    for their, our in zip(theirs, ours, strict=True):
        assert their["png"] == our.image
        assert their["txt"].decode().split("\n") == list(our.captions)
        assert int(their["cls"]) == our.label


def test_samples_fill_shards_in_order(tmp_path: Path) -> None:
    paths = write_shards(iter(samples(7)), tmp_path, samples_per_shard=3)
    assert [path.name for path in paths] == ["00000.tar", "00001.tar", "00002.tar"]
    assert [[s.key for s in read_shard(path)] for path in paths] == [
        ["000", "001", "002"],
        ["003", "004", "005"],
        ["006"],
    ]


def test_same_samples_give_same_bytes(tmp_path: Path) -> None:
    first, second = (write_shards(samples(5), tmp_path / name)[0] for name in "ab")
    assert first.read_bytes() == second.read_bytes()


def test_a_line_break_does_not_split_a_caption(tmp_path: Path) -> None:
    (path,) = write_shards([Sample(key="a", image=PNG, captions=("a red\nsquare",))], tmp_path)
    assert next(read_shard(path)).captions == ("a red square",)


def test_an_interrupted_write_leaves_no_partial_shard(tmp_path: Path) -> None:
    def failing() -> Iterable[Sample]:
        yield from samples(5)
        raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        write_shards(failing(), tmp_path, samples_per_shard=3)
    assert [path.name for path in tmp_path.iterdir()] == ["00000.tar"]
    assert len(list(read_shard(tmp_path / "00000.tar"))) == 3


@pytest.mark.parametrize(
    ("sample", "problem"),
    [
        (Sample(key="v1.0", image=PNG), "holds a dot"),
        (Sample(key="", image=PNG), "is empty"),
        (Sample(key="a", image=b"GIF89a"), "no PNG, JPEG or WebP"),
        (Sample(key="a", image=PNG, extra={"jpg": PNG}), "extra member 'jpg'"),
        (Sample(key="a", image=PNG, extra={"_meta": b""}), "extra member '_meta'"),
        (Sample(key="000", image=PNG), "have the key '000'"),
    ],
)
def test_what_a_reader_would_lose_is_not_written(
    tmp_path: Path, sample: Sample, problem: str
) -> None:
    with pytest.raises(ValueError, match=problem):
        write_shards([*samples(1), sample], tmp_path)
    assert not list(tmp_path.iterdir())


def test_shards_are_never_overwritten(shard: Path) -> None:
    before = shard.read_bytes()
    with pytest.raises(ValueError, match="already holds"):
        write_shards(samples(1), shard.parent)
    assert shard.read_bytes() == before


def test_an_impossible_shard_size_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="samples_per_shard is 0"):
        write_shards(samples(1), tmp_path, samples_per_shard=0)


# Finding


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("00002.tar", "00000.tar", "00001.tar", "notes.txt"):
        (tmp_path / name).touch()
    return tmp_path


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("", ["00000.tar", "00001.tar", "00002.tar"]),
        ("0000[12].tar", ["00001.tar", "00002.tar"]),
        ("{00001..00002}.tar", ["00001.tar", "00002.tar"]),
        ("{00002,*1}.tar", ["00001.tar", "00002.tar"]),
        ("notes.txt", ["notes.txt"]),
    ],
)
def test_every_way_to_name_shards(folder: Path, pattern: str, names: list[str]) -> None:
    assert find_shards(str(folder / pattern)) == [folder / name for name in names]


def test_a_list_of_names_is_joined_sorted_and_without_doubles(folder: Path) -> None:
    found = find_shards([folder / "00002.tar", str(folder / "{00000..00001}.tar"), folder])
    assert [path.name for path in found] == ["00000.tar", "00001.tar", "00002.tar"]


@pytest.mark.parametrize("pattern", ["{00001..00003}.tar", "*.tgz", "no-such-folder", "{1..2.tar"])
def test_a_name_that_matches_nothing_is_an_error(folder: Path, pattern: str) -> None:
    with pytest.raises(ValueError, match=r"00003\.tar|\.tgz|no-such-folder|unbalanced"):
        find_shards(str(folder / pattern))


def test_nothing_to_find_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"holds no \*\.tar"):
        find_shards(tmp_path)
    with pytest.raises(ValueError, match="list of shards is empty"):
        find_shards([])
