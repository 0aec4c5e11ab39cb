"""The check finds what would go wrong later, and nothing else.

Run: .venv/bin/pytest tests/reinforced_data/inspection/test_check.py
"""

from __future__ import annotations

import shutil
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from raw_tars import write_tar
from reinforced_shards import add_sidecar
from tiny_shards import jpeg
from webdataset.compat import WebDataset

from zoo.reinforced_data.inspection.check import check_shard, check_shards
from zoo.reinforced_data.inspection.finding import Finding
from zoo.reinforced_data.sidecars.embedding_storage import STORAGES, Storage
from zoo.reinforced_data.sidecars.sidecar import SidecarRows
from zoo.reinforced_data.sidecars.tensor_file import TensorFile, write_tensors


def pair(key: str, number: int = 0) -> list[tuple[str, bytes]]:
    return [(f"{key}.jpg", jpeg(number)), (f"{key}.txt", b"a caption")]


def only_finding(shard: Path) -> Finding:
    (finding,) = check_shard(shard).findings
    assert str(finding.file) in str(finding)
    assert "\n" not in str(finding)
    assert finding.advice.endswith(".")
    return finding


def webdataset_count(shard: Path) -> int:
    return len(list(WebDataset(str(shard), shardshuffle=False)))


# Sound data


@pytest.mark.parametrize("storage", STORAGES)
def test_sound_shards_and_sidecars_have_no_findings(shards: list[Path], storage: Storage) -> None:
    for shard in shards:
        add_sidecar(shard, storage=storage)
    results = list(check_shards(shards))
    assert [(r.samples, r.has_sidecar, r.findings) for r in results] == [
        (6, True, ()),
        (5, True, ()),
    ]


def test_several_processes_give_the_same_results_in_order(shards: list[Path]) -> None:
    add_sidecar(shards[1])
    shards[1].write_bytes(shards[1].read_bytes()[:-9000])
    assert list(check_shards(shards, workers=2)) == list(check_shards(shards))


# What webdataset 1.0.2 does in silence


def test_a_corrupt_header_is_found_with_what_webdataset_drops(shards: list[Path]) -> None:
    with tarfile.open(shards[0]) as tar:
        offset = tar.getmember("photo002.jpg").offset
    content = bytearray(shards[0].read_bytes())
    content[offset + 5] ^= 0xFF
    shards[0].write_bytes(content)
    assert webdataset_count(shards[0]) == 2  # of six
    first, second = check_shard(shards[0]).findings
    assert (first.kind, first.key) == ("tar", None)
    assert f"byte {offset}" in first.what
    assert "webdataset drops the 7 members behind it" in first.what
    assert (second.kind, second.key) == ("sample", "photo002")


def test_interleaved_samples_are_found(tmp_path: Path) -> None:
    members = sorted(pair("a") + pair("b"), key=lambda member: member[0][1:])
    shard = write_tar(tmp_path / "s.tar", [*members, *pair("c")])
    assert webdataset_count(shard) == 5  # of three
    findings = check_shard(shard).findings
    assert [(one.kind, one.key) for one in findings] == [("webdataset", "a"), ("webdataset", "b")]
    assert "apart into 2 samples" in findings[0].what


def test_keys_with_dots_are_found(tmp_path: Path) -> None:
    shard = write_tar(tmp_path / "s.tar", [*pair("v1.0"), *pair("v1.1"), *pair("folder.d/b")])
    assert webdataset_count(shard) == 2  # of three
    findings = check_shard(shard).findings
    assert [one.key for one in findings] == ["v1.0", "v1.1"]
    assert "is 'v1' in webdataset" in findings[0].what


def test_hidden_files_between_members_harm_nobody(tmp_path: Path) -> None:
    (jpg, txt), hidden = pair("a"), ("._a.jpg", b"x")
    shard = write_tar(tmp_path / "s.tar", [jpg, hidden, txt])
    assert webdataset_count(shard) == 1
    assert check_shard(shard).findings == ()


# Tars and samples


@pytest.mark.parametrize(
    ("content", "problem"),
    [(b"", "is empty"), (b"hello" * 500, "not a plain tar"), (bytes(10240), "holds no samples")],
)
def test_what_is_no_shard_is_a_finding(tmp_path: Path, content: bytes, problem: str) -> None:
    (tmp_path / "s.tar").write_bytes(content)
    finding = only_finding(tmp_path / "s.tar")
    assert finding.kind == "tar"
    assert problem in finding.what


SAMPLES: dict[str, list[tuple[str, bytes]]] = {
    "two members": [*pair("x"), ("x.txt", b"again")],
    "no image": [("x.txt", b"text")],
    "2 images": [*pair("x"), ("x.png", jpeg(1))],
    "0 bytes": [("x.jpg", b""), ("x.txt", b"text")],
    "no usable picture": [("x.jpg", jpeg(0)[:700]), ("x.txt", b"text")],
    "not utf-8": [("x.jpg", jpeg(0)), ("x.txt", b"caf\xe9")],
    "no caption and no label": [("x.jpg", jpeg(0)), ("x.txt", b"\n")],
}


@pytest.mark.parametrize("problem", SAMPLES)
def test_an_unusable_sample_is_named(tmp_path: Path, problem: str) -> None:
    shard = write_tar(tmp_path / "s.tar", [*pair("a"), *SAMPLES[problem], *pair("z")])
    add_sidecar(shard)  # knows that the sample is not valid, and so adds nothing
    finding = only_finding(shard)
    assert (finding.kind, finding.key) == ("sample", "x")
    assert problem in finding.what


def test_a_class_stands_in_for_a_caption(tmp_path: Path) -> None:
    shard = write_tar(tmp_path / "s.tar", [("a.jpg", jpeg(0)), ("a.cls", b"3")])
    assert check_shard(shard).findings == ()


# Sidecars


def test_a_changed_picture_or_caption_is_found(shards: list[Path]) -> None:
    add_sidecar(shards[0])
    content = shards[0].read_bytes()
    shards[0].write_bytes(content.replace(b"thing number 4", b"thing number 5"))
    finding = only_finding(shards[0])
    assert (finding.kind, finding.key) == ("sidecar", "photo004")
    assert "have changed since" in finding.what


def test_another_shard_under_the_same_name_is_found(shards: list[Path]) -> None:
    add_sidecar(shards[0])
    shutil.copyfile(shards[1], shards[0])
    assert "6 samples but" in only_finding(shards[0]).what


def test_a_shard_of_another_size_is_found(shards: list[Path]) -> None:
    add_sidecar(shards[0])
    shards[0].write_bytes(shards[0].read_bytes() + bytes(10240))
    assert "bytes, but" in only_finding(shards[0]).what


def spoil_value(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def spoil_tensor(name: str, change: Callable[[np.ndarray], object]) -> Callable[[Path], None]:
    """Write the file anew, so that its hashes fit: what a faulty writer would leave."""

    def spoil(path: Path) -> None:
        file = TensorFile(path)
        tensors = {key: value.copy() for key, value in file.tensors.items()}
        change(tensors[name])
        metadata = {k: v for k, v in file.metadata.items() if not k.endswith("_sha256")}
        write_tensors(path, tensors, metadata)

    return spoil


FILES: dict[str, Callable[[Path], object]] = {
    "values that changed": spoil_value,
    "truncated": lambda path: path.write_bytes(path.read_bytes()[:5]),
    "its header says": lambda path: path.write_bytes(path.read_bytes()[:-1]),
    "offsets of captions": spoil_tensor("captions.offsets", lambda t: t.__setitem__(2, 9999)),
    "captions that are not utf-8": spoil_tensor("captions.bytes", lambda t: t.fill(0xFF)),
}


@pytest.mark.parametrize("problem", FILES)
def test_an_altered_sidecar_is_found(shards: list[Path], problem: str) -> None:
    FILES[problem](add_sidecar(shards[0]))
    finding = only_finding(shards[0])
    assert (finding.kind, finding.key) == ("sidecar", None)
    assert problem in finding.what


def embeddings(kind: str, row: int, value: float) -> Callable[[SidecarRows], object]:
    def change(rows: SidecarRows) -> None:
        side = rows.image_embeddings if kind == "image" else rows.text_embeddings
        side["sage"].tensors["values"][3, row] *= np.float32(value)

    return change


def augmentation(column: int, value: float) -> Callable[[SidecarRows], object]:
    return lambda rows: rows.augment_params.__setitem__((3, 1, column), value)


CONTENT: dict[str, Callable[[SidecarRows], object]] = {
    "sage's image embedding 2 .* is empty": embeddings("image", 2, 0),
    "sage's text embedding 0 .* has length 1.1, not 1": embeddings("text", 0, 1.1),
    "sage's text embedding 1 .* is not finite": embeddings("text", 1, np.nan),
    "marked as not valid": lambda rows: rows.valid.__setitem__(3, False),
    "Augmentation 1 .* not finite": augmentation(0, np.nan),
    "Augmentation 1 .* crops": augmentation(2, 1.5),
    "Augmentation 1 .* operation 99": augmentation(5, 99),
    "Augmentation 1 .* magnitude 999": augmentation(6, 999),
}


@pytest.mark.parametrize("problem", CONTENT)
def test_senseless_content_is_found(shards: list[Path], problem: str) -> None:
    add_sidecar(shards[0], storage="fp32", change=CONTENT[problem])
    finding = only_finding(shards[0])
    assert (finding.kind, finding.key) == ("sidecar", "photo003")
    with pytest.raises(ValueError, match=problem):
        raise ValueError(finding.what)


def test_a_finding_does_not_hide_another(shards: list[Path]) -> None:
    add_sidecar(shards[0], change=lambda rows: rows.valid.fill(False))
    findings = check_shard(shards[0]).findings
    assert [one.key for one in findings] == [f"photo{i:03d}" for i in range(6)]
    assert replace(findings[0], key=None, what="") == replace(findings[1], key=None, what="")
