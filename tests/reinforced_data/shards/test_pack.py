"""Folders and tables of pictures become shards: bytes unchanged, captions and labels right.

.venv/bin/pytest tests/reinforced_data/shards/test_pack.py
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from tiny_shards import jpeg, make_samples

from zoo.reinforced_data.shards.find import find_shards
from zoo.reinforced_data.shards.pack import caption_shards, pack_pictures, shards_of
from zoo.reinforced_data.shards.read import read_shard
from zoo.reinforced_data.shards.sample import Sample
from zoo.reinforced_data.shards.write import write_shards

PICTURES = [jpeg(number) for number in range(6)]


def write(folder: Path, files: Mapping[str, bytes | str]) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return folder


def samples_in(folder: str | Path) -> dict[str, Sample]:
    return {sample.key: sample for path in find_shards(folder) for sample in read_shard(path)}


@pytest.fixture
def classes(tmp_path: Path) -> Path:
    """Two classes, one of them in folders, and things that are no pictures."""
    return write(
        tmp_path / "classes",
        {
            "hot_dog/1.jpg": PICTURES[0],
            "hot_dog/v1.5.jpg": PICTURES[1],
            "cat/1.JPG": PICTURES[2],
            "cat/young/1.jpeg": PICTURES[3],
            "cat/young/Thumbs.db": b"x",
            "cat/.hidden.jpg": b"x",
            ".git/1.jpg": b"x",
        },
    )


def test_class_folders_give_labels_names_and_captions(classes: Path, tmp_path: Path) -> None:
    templates = ("a photo of a {}.", "{}!")
    packed = pack_pictures(classes, tmp_path / "out", templates=templates, samples_per_shard=3)
    assert packed.class_names == ("cat", "hot dog")
    assert (tmp_path / "out" / "classnames.txt").read_text() == "cat\nhot dog\n"
    assert [path.name for path in packed.shards] == ["00000.tar", "00001.tar"]
    samples = samples_in(tmp_path / "out")
    assert {key: (s.label, s.image) for key, s in samples.items()} == {
        "cat/1": (0, PICTURES[2]),
        "cat/young/1": (0, PICTURES[3]),
        "hot_dog/1": (1, PICTURES[0]),
        "hot_dog/v1_5": (1, PICTURES[1]),
    }
    assert samples["cat/1"].captions == ("a photo of a cat.", "cat!")
    assert samples["hot_dog/1"].captions == ("a photo of a hot dog.", "hot dog!")


def test_class_names_may_come_from_a_file(classes: Path, tmp_path: Path) -> None:
    names = tmp_path / "names.txt"
    names.write_text("kitten\nsausage\n")
    packed = pack_pictures(classes, tmp_path / "out", class_names=names)
    assert packed.class_names == ("kitten", "sausage")
    assert samples_in(tmp_path / "out")["hot_dog/1"].captions == ("a photo of a sausage.",)
    names.write_text("kitten\n")
    with pytest.raises(ValueError, match=r"There are 1 class names but .* has 2 class folders"):
        pack_pictures(classes, tmp_path / "other", class_names=names)


def test_caption_files_stand_beside_their_pictures(tmp_path: Path) -> None:
    files = {"a.jpg": PICTURES[0], "a.txt": "one\n\n two  words\n", "b/a.jpg": PICTURES[1]}
    source = write(tmp_path / "own", files | {"b/a.txt": "three", "list.txt": "not a caption"})
    assert pack_pictures(source, tmp_path / "out").class_names == ()
    samples = samples_in(tmp_path / "out")
    assert {key: s.captions for key, s in samples.items()} == {
        "a": ("one", "two words"),
        "b/a": ("three",),
    }
    assert not (tmp_path / "out" / "classnames.txt").exists()


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl"])
def test_a_table_may_name_a_picture_several_times(kind: str, tmp_path: Path) -> None:
    rows = [("img/1.jpg", 'a "dog", asleep'), ("2.jpg", "a cat"), ("img/1.jpg", "ein Hund, müde")]
    if kind == "jsonl":
        lines = [json.dumps({"path": path, "caption": text}) for path, text in rows]
    else:
        comma = {"csv": ",", "tsv": "\t"}[kind]
        quoted = [[cell.join('""') if kind == "csv" else cell for cell in row] for row in rows]
        if kind == "csv":
            quoted[0][1] = '"a ""dog"", asleep"'
        lines = [comma.join(row) for row in [["filepath", "title"], *quoted]]
    source = write(
        tmp_path / "own",
        {"img/1.jpg": PICTURES[0], "2.jpg": PICTURES[1], f"list.{kind}": "\n".join(lines)},
    )
    pack_pictures(source / f"list.{kind}", tmp_path / "out")
    captions = {key: s.captions for key, s in samples_in(tmp_path / "out").items()}
    assert captions == {"img/1": ('a "dog", asleep', "ein Hund, müde"), "2": ("a cat",)}


def test_the_same_pictures_give_the_same_bytes_and_classes_are_mixed(tmp_path: Path) -> None:
    files = {f"{name}/{i}.jpg": PICTURES[0] for name in "ab" for i in range(20)}
    source = write(tmp_path / "own", files)
    shards = [pack_pictures(source, tmp_path / name, samples_per_shard=20).shards for name in "xy"]
    assert [path.read_bytes() for path in shards[0]] == [path.read_bytes() for path in shards[1]]
    for path in shards[0]:
        assert 5 <= sum(sample.label or 0 for sample in read_shard(path)) <= 15


def test_names_that_differ_only_in_dots_and_suffix_stay_apart(tmp_path: Path) -> None:
    names = ("a.b.jpg", "a_b.jpg", "a.b.jpeg")
    source = write(tmp_path / "own" / "x", dict.fromkeys(names, PICTURES[0])).parent
    pack_pictures(source, tmp_path / "out")
    assert sorted(samples_in(tmp_path / "out")) == ["x/a_b", "x/a_b_2", "x/a_b_3"]


BAD: dict[str, tuple[dict[str, bytes | str], str, str]] = {
    "damaged": ({"x/1.jpg": PICTURES[0][:-400]}, "", r"x/1\.jpg' is no usable picture: .* decoded"),
    "empty": ({"x/1.jpg": b""}, "", r"x/1\.jpg' is no usable picture: .*zero bytes"),
    "text": ({"x/1.png": "hello"}, "", r"x/1\.png' is no usable picture"),
    "foreign": ({"x/1.gif": b"GIF89a"}, "", r"x/1\.gif' is in a format that shards do not hold"),
    "no class": ({"1.jpg": PICTURES[0]}, "", r"1\.jpg' has neither a caption file '1\.txt' beside"),
    "one caption": (
        {"1.jpg": PICTURES[0], "1.txt": "x", "2.jpg": PICTURES[1]},
        "",
        r"2\.jpg' has no caption, unlike other pictures",
    ),
    "nothing": ({"notes.md": "x"}, "", "holds no .*tar file and no picture"),
    "columns": ({"t.csv": "url,caption\nx.jpg,y"}, "t.csv", "Row 2 of .* no text under path or"),
    "no rows": ({"t.csv": "path,caption\n"}, "t.csv", "t.csv' has no rows"),
    "no json": ({"t.jsonl": "path"}, "t.jsonl", "Row 1 of .* is not JSON"),
    "a list": ({"t.jsonl": "[1]"}, "t.jsonl", "Row 1 of .* is not a JSON object"),
    "a number": ({"t.jsonl": '{"path": 1}'}, "t.jsonl", "Row 1 of .* has no text under path"),
    "latin": ({"t.csv": b"path,caption\nx,\xe9"}, "t.csv", "t.csv' is not utf-8"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_packed_is_named(case: str, tmp_path: Path) -> None:
    files, table, message = BAD[case]
    source = write(tmp_path / "own", files)
    with pytest.raises(ValueError, match=message):
        pack_pictures(source / table, tmp_path / "out")
    assert not list((tmp_path / "out").glob("*.tar"))


def test_pictures_that_are_not_there_are_named(tmp_path: Path) -> None:
    source = write(tmp_path / "own", {"t.csv": "path,caption\nx.jpg,y"})
    with pytest.raises(FileNotFoundError, match=r"Row 2 of .*x\.jpg', which is not there"):
        pack_pictures(source / "t.csv", tmp_path / "out")
    with pytest.raises(FileNotFoundError, match="There is no folder"):
        pack_pictures(tmp_path / "absent", tmp_path / "out")


def test_labelled_shards_get_captions_of_their_classes(tmp_path: Path) -> None:
    labelled = [replace(s, label=i % 2, captions=()) for i, s in enumerate(make_samples(5))]
    labelled[0] = replace(labelled[0], extra={"json": b"{}"})
    write_shards(labelled, tmp_path / "in", samples_per_shard=3)
    (tmp_path / "in" / "classnames.txt").write_text("cat\ndog\n")
    packed = caption_shards(tmp_path / "in", tmp_path / "out", templates=("a {}",))
    assert packed.class_names == ("cat", "dog")
    samples = samples_in(tmp_path / "out")
    expected = {
        s.key: replace(s, captions=(f"a {['cat', 'dog'][s.label or 0]}",)) for s in labelled
    }
    assert samples == expected and list(samples) == list(expected)
    (tmp_path / "in" / "classnames.txt").write_text("cat\n")
    with pytest.raises(
        ValueError, match=r"'photo001' of shard .* has the label 1, for which there"
    ):
        caption_shards(tmp_path / "in", tmp_path / "other")


def test_shards_stay_what_they_are(tmp_path: Path) -> None:
    write_shards(make_samples(2), tmp_path / "in")
    for data in (str(tmp_path / "in"), str(tmp_path / "absent"), "s3://bucket/{0..3}.tar"):
        assert shards_of(data, tmp_path / "cache") == data
    assert not (tmp_path / "cache").exists()


def touch(path: Path) -> None:
    os.utime(path, (1, 1))


@pytest.mark.parametrize(
    "change",
    [touch, lambda path: path.rename(path.with_name("3.jpg")), lambda path: path.unlink()],
    ids=["touched", "renamed", "removed"],
)
def test_pictures_are_packed_once_until_they_change(
    change: Callable[[Path], object], classes: Path, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    first = shards_of(str(classes), cache)
    assert len(samples_in(first)) == 4
    written = find_shards(first)[0].stat().st_mtime_ns
    assert shards_of(str(classes), cache) == first
    assert find_shards(first)[0].stat().st_mtime_ns == written
    change(classes / "hot_dog" / "1.jpg")
    second = shards_of(str(classes), cache)
    assert second != first and samples_in(second)


def test_a_failed_packing_leaves_nothing_in_the_cache(classes: Path, tmp_path: Path) -> None:
    (classes / "cat" / "2.jpg").write_bytes(b"no picture")
    with pytest.raises(ValueError, match=r"cat/2\.jpg' is no usable picture"):
        shards_of(str(classes), tmp_path / "cache")
    assert not list((tmp_path / "cache").rglob("*.tar"))
    assert not list((tmp_path / "cache" / "packed").iterdir())


def test_of_two_processes_that_pack_at_once_one_wins(classes: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    expected = Path(shards_of(str(classes), cache))

    def other_is_first(done: int, total: int) -> None:
        if done == total:
            expected.with_name("moved").rename(expected)

    expected.rename(expected.with_name("moved"))
    assert shards_of(str(classes), cache, on_progress=other_is_first) == str(expected)
    assert [path.name for path in expected.parent.iterdir()] == [expected.name]
