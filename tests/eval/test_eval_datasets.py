"""Evaluation data is read whole or not at all, and every fault is one sentence with the tar's name.

.venv/bin/pytest tests/eval/test_eval_datasets.py
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from zoo.eval.datasets import (
    EvalDataset,
    count_image_members,
    read_tar_dataset,
)
from zoo.models.class_names import read_class_names

BLOCK = 512


def picture(shade: int, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 6), (shade, shade, shade)).save(buffer, kind)
    return buffer.getvalue()


def write_tar(path: Path, members: Mapping[str, bytes]) -> Path:
    with tarfile.open(path, "w") as archive:
        for name, data in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return path


def shades(data: EvalDataset) -> list[int]:
    return [int(np.asarray(image).mean()) for image in data.images]


def labelled(count: int, start: int = 0) -> dict[str, bytes]:
    members = {}
    for index in range(start, start + count):
        members[f"{index:04d}.png"] = picture(index)
        members[f"{index:04d}.cls"] = str(index % 3).encode()
    return members


def test_labels_captions_and_pictures_stay_together(tmp_path: Path) -> None:
    members = {
        "a.jpg": picture(0, "JPEG"),
        "a.cls": b"1\n",
        "a.txt": "größer\n\n two dogs \n".encode(),
        "b.PNG": picture(255),
        "b.cls": b"0",
        "b.txt": b"one",
    }
    data = read_tar_dataset(write_tar(tmp_path / "0.tar", members), class_names=["x", "y"])
    assert data.labels == (1, 0)
    assert data.captions == (("größer", "two dogs"), ("one",))
    assert shades(data) == [0, 255]


def test_a_folder_gives_its_tars_in_order_and_can_be_read_again(tmp_path: Path) -> None:
    write_tar(tmp_path / "00001.tar", labelled(3, start=4))
    write_tar(tmp_path / "00000.tar", labelled(4))
    data = read_tar_dataset(tmp_path)
    for _ in range(2):
        assert shades(data) == list(range(7))
    assert len(data) == 7 and data.captions is None and data.name == str(tmp_path)


@pytest.mark.parametrize(
    ("case", "members"),
    [
        ("dotted keys merge", {"a.1.png": picture(1), "a.2.png": picture(2)}),
        (
            "two pictures in one sample",
            {"a.png": picture(1), "a.jpg": picture(2, "JPEG"), "a.cls": b"0"},
        ),
        ("a name that webdataset takes for metadata", {"__a__/b.png": picture(1)}),
    ],
)
def test_samples_that_webdataset_loses_in_silence_are_an_error(
    tmp_path: Path, case: str, members: dict[str, bytes]
) -> None:
    with pytest.raises(ValueError, match=r"0\.tar holds \d pictures, but webdataset reads"):
        read_tar_dataset(write_tar(tmp_path / "0.tar", members))


def test_further_image_files_of_a_sample_are_no_pictures_of_their_own(tmp_path: Path) -> None:
    members = {"a.png": picture(1), "a.mask.png": picture(9), "a.cls": b"0"}
    data = read_tar_dataset(write_tar(tmp_path / "0.tar", members), class_names=["x"])
    assert shades(data) == [1]


def test_samples_torn_by_interleaved_members_are_an_error(tmp_path: Path) -> None:
    members = {"a.png": picture(1), "b.png": picture(2), "a.cls": b"0", "b.cls": b"1"}
    with pytest.raises(ValueError, match=r"0\.tar"):
        read_tar_dataset(write_tar(tmp_path / "0.tar", members))


@pytest.mark.parametrize("where", ["header", "end mark", "member", "zeros between"])
def test_a_damaged_or_shortened_tar_is_an_error(tmp_path: Path, where: str) -> None:
    path = write_tar(tmp_path / "00000.tar", labelled(5))
    data = bytearray(path.read_bytes())
    with tarfile.open(path) as archive:
        members = archive.getmembers()
    middle, last = members[4].offset, members[-1]
    end = last.offset_data + BLOCK
    if where == "header":
        data[middle : middle + 100] = b"Z" * 100
    elif where == "zeros between":
        data[middle : middle + BLOCK] = bytes(BLOCK)
    else:
        del data[end if where == "end mark" else last.offset_data - 100 :]
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"00000\.tar is"):
        read_tar_dataset(path)


@pytest.mark.parametrize("content", [b"", b"not a tar at all" * 100])
def test_a_file_that_is_not_a_tar_is_one_sentence(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "00000.tar"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"00000\.tar is not a whole tar"):
        count_image_members(path)


def test_a_missing_tar_or_an_empty_folder_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"none\.tar does not exist"):
        read_tar_dataset(tmp_path / "none.tar")
    with pytest.raises(ValueError, match="There are no tars in"):
        read_tar_dataset(tmp_path)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"0001.cls": b"dog"}, "0001.cls holds b'dog', not a class index"),
        ({"0001.cls": b"7"}, "picture 1 has the label 7, but there are 3 class names"),
        ({"0001.txt": b"only one"}, "1 of 3 samples have a .txt file"),
    ],
)
def test_a_sample_unlike_the_others_is_named(
    tmp_path: Path, changed: dict[str, bytes], message: str
) -> None:
    members = dict(sorted((labelled(3) | changed).items()))
    with pytest.raises(ValueError, match=message):
        read_tar_dataset(write_tar(tmp_path / "0.tar", members), class_names=["a", "b", "c"])


def test_a_picture_that_is_not_one_is_named_with_its_tar(tmp_path: Path) -> None:
    members = labelled(2) | {"0001.png": b"not a picture"}
    data = read_tar_dataset(write_tar(tmp_path / "0.tar", members))
    with pytest.raises(ValueError, match=r"0\.tar, sample 0001: "):
        list(data.images)


def test_a_picture_without_caption_is_named() -> None:
    image = Image.new("RGB", (2, 2))
    with pytest.raises(ValueError, match="picture 1 has no caption"):
        EvalDataset(name="two", images=[image, image], captions=(("a",), ()))


def test_class_names_come_from_a_file_or_a_list(tmp_path: Path) -> None:
    path = tmp_path / "classnames.txt"
    path.write_text("hot dog\n cat\n\n")
    assert read_class_names(path) == read_class_names(["hot dog", "cat"]) == ("hot dog", "cat")


@pytest.mark.parametrize("content", ["", "dog\n\ncat\n"])
def test_class_names_with_a_gap_are_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "classnames.txt"
    path.write_text(content)
    with pytest.raises(ValueError, match=r"classnames\.txt: every class needs a name"):
        read_class_names(path)
