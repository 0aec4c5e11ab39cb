"""Apple's reinforcement becomes sidecars, joined with image shards by key or uid.

.venv/bin/pytest tests/reinforced_data/datacompdr/test_import_shards.py
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from apple_shards import TEACHERS, apple_samples, apple_view, write_tar

from zoo.reinforced_data.datacompdr.import_shard import ImportSettings
from zoo.reinforced_data.datacompdr.import_shards import import_shards
from zoo.reinforced_data.datacompdr.source import AppleShards
from zoo.reinforced_data.engine.claims import SidecarLock
from zoo.reinforced_data.shards.index import ShardIndex, load_picture
from zoo.reinforced_data.sidecars.sidecar import Sidecar, sidecar_path

IMAGES = ("npz", "pth.gz", "paug.json", "syn.json")
REINFORCEMENT = ("jpg", "txt")
SETTINGS = ImportSettings(teachers=TEACHERS)
TOLERANCE = {"int8": 0.5 / 127, "fp16": 2**-11, "bf16": 2**-8, "fp32": 0.0}


def from_folder(folder: Path) -> ImportSettings:
    return replace(SETTINGS, find=AppleShards(sorted(folder.glob("*.tar"))).find)


def numbered(samples: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The samples as img2dataset names them: by number, the uid in KEY.json."""
    return [sample | {"__key__": f"{i:09d}"} for i, sample in enumerate(samples)]


def check(sidecar: Sidecar, i: int, sample: dict[str, Any], layout: str = "npz") -> None:
    embeddings = {k: torch.as_tensor(v).float().numpy() for k, v in sample[layout].items()}
    assert sidecar.valid[i]
    assert sidecar.captions(i) == tuple(json.loads(sample["syn.json"])["syn_text"])
    for teacher, part in (("first", slice(24)), ("second", slice(24, None))):
        tolerance = TOLERANCE[sidecar.teachers[teacher].storage] * 1.01
        for a, expected in enumerate(embeddings["image_emb"][:, part]):
            found = sidecar.image_embedding(teacher, i, a)
            assert np.abs(found - expected).max() <= tolerance * np.abs(expected).max()
        for row, expected in enumerate(embeddings["text_emb"][:, part]):
            found = sidecar.text_embedding(teacher, i, row)
            assert np.abs(found - expected).max() <= tolerance * np.abs(expected).max()


@pytest.mark.parametrize("layout", ["npz", "pth.gz"])
@pytest.mark.parametrize("storage", ["int8", "fp16", "bf16", "fp32"])
def test_a_sidecar_holds_what_apple_stored(tmp_path: Path, layout: str, storage: Any) -> None:
    samples = apple_samples(3, layout=layout)
    shard = write_tar(tmp_path / "00000.tar", samples)
    report = import_shards(shard, replace(SETTINGS, storage=storage))
    sidecar = Sidecar.open(report.written[0])
    sidecar.check_shard(shard, ShardIndex(shard).keys)
    assert sidecar.header.captioner == {"name": "datacompdr import"}
    assert {t.pretrained for t in sidecar.header.teachers} == {"a", "b"}
    for i, sample in enumerate(samples):
        check(sidecar, i, sample, layout)
        assert sidecar.digests[i].tobytes() == ShardIndex(shard).digest(i)


def test_the_sidecar_replays_apples_views_to_the_pixel(tmp_path: Path) -> None:
    samples = apple_samples(6)
    shard = write_tar(tmp_path / "00000.tar", samples)
    sidecar = Sidecar.open(import_shards(shard, SETTINGS).written[0])
    for i, sample in enumerate(samples):
        image = load_picture(ShardIndex(shard), i)[1]
        for a, entry in enumerate(json.loads(sample["paug.json"])["param_aug"]):
            view = sidecar.policy.replay(image, sidecar.augment_params(i, a), 224)
            assert np.array_equal(np.asarray(view), apple_view(sample["jpg"], entry))


@pytest.mark.parametrize("rename", [list, numbered], ids=["by key", "by uid"])
@pytest.mark.parametrize("names", ["same", "other"])
def test_apples_shards_are_joined_with_image_shards(
    tmp_path: Path, rename: Any, names: str
) -> None:
    samples = apple_samples(8)
    first, second = samples[:4], samples[4:]
    if names == "other":  # every image shard needs both of Apple's
        first, second = samples[::2], samples[1::2]
    write_tar(tmp_path / "apple/00000.tar", first, REINFORCEMENT)
    write_tar(tmp_path / "apple/00001.tar", second, REINFORCEMENT)
    shards = [
        write_tar(tmp_path / f"images/0000{n}.tar", rename(samples[4 * n : 4 * n + 4]), IMAGES)
        for n in range(2)
    ]
    report = import_shards(shards, from_folder(tmp_path / "apple"))
    assert report.unused == () and report.samples == 8
    for n, path in enumerate(report.written):
        for i in range(4):
            check(Sidecar.open(path), i, samples[4 * n + i])


def test_the_list_of_all_shards_is_made_only_when_it_is_needed(tmp_path: Path) -> None:
    samples = apple_samples(4)
    write_tar(tmp_path / "apple/a.tar", samples[:2], REINFORCEMENT)
    write_tar(tmp_path / "apple/b.tar", samples[2:], REINFORCEMENT)
    listed: list[tuple[int, int]] = []
    apple = AppleShards(
        sorted((tmp_path / "apple").glob("*.tar")), lambda *place: listed.append(place)
    )
    settings = replace(SETTINGS, find=apple.find)
    import_shards(write_tar(tmp_path / "a.tar", samples[:2], IMAGES), settings)
    assert listed == []
    for name in ("c.tar", "d.tar"):
        import_shards(write_tar(tmp_path / name, samples, IMAGES), settings)
    assert listed == [(1, 2), (2, 2)]


def test_samples_without_reinforcement_keep_their_row_and_are_listed(tmp_path: Path) -> None:
    samples = apple_samples(4)
    write_tar(tmp_path / "apple/00000.tar", [samples[0], samples[3]], REINFORCEMENT)
    shard = write_tar(tmp_path / "00000.tar", samples, IMAGES)
    report = import_shards(shard, from_folder(tmp_path / "apple"))
    sidecar = Sidecar.open(report.written[0])
    assert sidecar.valid.tolist() == [True, False, False, True]
    check(sidecar, 3, samples[3])
    assert [unused.key for unused in report.unused] == [s["__key__"] for s in samples[1:3]]
    assert "has no reinforcement" in report.unused[0].reason
    assert sidecar.digests[1].tobytes() == ShardIndex(shard).digest(1)


def test_a_shard_that_nothing_reinforces_is_an_error(tmp_path: Path) -> None:
    samples = apple_samples(4)
    write_tar(tmp_path / "apple/00000.tar", samples[:2], REINFORCEMENT)
    shard = write_tar(tmp_path / "00000.tar", samples[2:], IMAGES)
    with pytest.raises(ValueError, match=r"No sample of shard .*00000\.tar is usable"):
        import_shards(shard, from_folder(tmp_path / "apple"))
    assert not sidecar_path(shard).exists()


def test_unusable_content_stops_the_run_or_is_listed(tmp_path: Path) -> None:
    samples = apple_samples(4)
    samples[0]["npz"]["text_emb"] = samples[0]["npz"]["text_emb"][:0]
    samples[1]["jpg"] = b"\xff\xd8\xff no picture"
    samples[2]["txt"] = ""
    shard = write_tar(tmp_path / "00000.tar", samples)
    with pytest.raises(ValueError, match=f"{samples[0]['__key__']}.*empty text_emb"):
        import_shards(shard, SETTINGS)
    assert not sidecar_path(shard).exists()
    report = import_shards(shard, replace(SETTINGS, on_error="skip"))
    sidecar = Sidecar.open(report.written[0])
    assert sidecar.valid.tolist() == [False, False, False, True]
    check(sidecar, 3, samples[3])
    said = ("empty text_emb", "no usable picture", "no caption")
    assert all(part in unused.reason for part, unused in zip(said, report.unused, strict=True))


def test_a_run_that_was_killed_goes_on_with_the_same_bytes(tmp_path: Path) -> None:
    shards = [
        write_tar(tmp_path / f"{n}.tar", apple_samples(6)[2 * n : 2 * n + 2]) for n in range(3)
    ]
    sidecars = [sidecar_path(shard) for shard in shards]
    import_shards(shards, SETTINGS)
    undisturbed = [path.read_bytes() for path in sidecars]
    sidecars[1].unlink()
    # What SIGKILL leaves behind: half a file under another name, and a lock that nobody holds.
    sidecars[1].with_name(f"{sidecars[1].name}.tmp").write_bytes(undisturbed[1][:99])
    sidecars[1].with_name(".1.reinforced.lock").touch()
    report = import_shards(shards, SETTINGS)
    assert report.written == (sidecars[1],) and len(report.kept) == 2
    assert [path.read_bytes() for path in sidecars] == undisturbed
    assert sorted(tmp_path.iterdir()) == sorted([*shards, *sidecars])


def test_a_finished_sidecar_made_otherwise_or_damaged_is_refused(tmp_path: Path) -> None:
    shard = write_tar(tmp_path / "00000.tar", apple_samples(2))
    import_shards(shard, SETTINGS)
    with pytest.raises(ValueError, match="was made with teachers ="):
        import_shards(shard, replace(SETTINGS, storage="fp32"))
    content = bytearray(sidecar_path(shard).read_bytes())
    content[-3] ^= 1
    sidecar_path(shard).write_bytes(content)
    with pytest.raises(ValueError, match=r"00000\.reinforced\.safetensors' has values"):
        import_shards(shard, SETTINGS)


def test_sidecars_go_where_they_are_asked_for(tmp_path: Path) -> None:
    shard = write_tar(tmp_path / "in/00000.tar", apple_samples(2))
    output = tmp_path / "new/out"
    written = import_shards(shard, SETTINGS, output=output).written
    assert written == (output / "00000.reinforced.safetensors",)
    twin = write_tar(tmp_path / "other/00000.tar", apple_samples(2))
    with pytest.raises(ValueError, match="would share the sidecar"):
        import_shards([shard, twin], SETTINGS, output=output)


def test_a_sidecar_that_another_run_is_writing_is_left_to_it(tmp_path: Path) -> None:
    shards = [write_tar(tmp_path / f"{n}.tar", apple_samples(2)) for n in range(2)]
    other = SidecarLock(sidecar_path(shards[0]))
    assert other.acquire()
    report = import_shards(shards, SETTINGS)
    assert report.elsewhere == (sidecar_path(shards[0]),)
    assert report.written == (sidecar_path(shards[1]),) and report.samples == 2
    other.release()
    assert import_shards(shards, SETTINGS).written == (sidecar_path(shards[0]),)


def test_shards_and_sidecars_may_be_at_urls(tmp_path: Path) -> None:
    shard = write_tar(tmp_path / "in/00000.tar", apple_samples(2))
    out = tmp_path / "out"
    for attribute in ("written", "kept"):
        report = import_shards(shard.as_uri(), SETTINGS, output=out.as_uri())
        assert getattr(report, attribute) == (f"{out.as_uri()}/00000.reinforced.safetensors",)
    check(Sidecar.open(out / "00000.reinforced.safetensors"), 1, apple_samples(2)[1])


def test_progress_ends_with_all_samples(tmp_path: Path) -> None:
    shards = [write_tar(tmp_path / f"{n}.tar", apple_samples(3)) for n in range(2)]
    steps: list[Any] = []
    import_shards(shards, SETTINGS, on_progress=steps.append)
    assert [step.samples_done for step in steps] == [1, 2, 3, 3, 4, 5, 6, 6]
    assert steps[-1].shards_done == 2 and steps[-1].seconds_left == pytest.approx(0)
