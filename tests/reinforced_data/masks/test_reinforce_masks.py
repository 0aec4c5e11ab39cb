"""Mask sidecars are whole or absent, made once, and say what they were made of.

.venv/bin/pytest tests/reinforced_data/masks/test_reinforce_masks.py
"""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mask_shards import PROMPTS, SCENES, random_sam, scene_shards, truth
from tiny_shards import jpeg

from zoo.cli import main
from zoo.reinforced_data.engine.claims import SidecarLock
from zoo.reinforced_data.masks.coco_shards import pack_coco
from zoo.reinforced_data.masks.reinforce import MaskReport, reinforce_masks
from zoo.reinforced_data.masks.sidecar import MaskSidecar, mask_sidecar_path
from zoo.reinforced_data.masks.teacher import MaskTeacher, SamTeacher
from zoo.reinforced_data.shards.read import read_shard
from zoo.reinforced_data.shards.sample import Sample
from zoo.reinforced_data.shards.write import write_shards


@pytest.fixture(scope="module")
def sam() -> SamTeacher:
    return random_sam()


@pytest.fixture
def shards(tmp_path: Path) -> list[Path]:
    return scene_shards(tmp_path / "shards")


def reinforced(
    shards: Sequence[Path], teacher: MaskTeacher | None = None, **options: Any
) -> MaskReport:
    settings: dict[str, Any] = {
        "teacher": teacher or truth(),
        "masks_per_picture": PROMPTS,
    } | options
    return reinforce_masks(shards, **settings)


def test_every_sample_has_its_prompts_and_a_point_three_answers_of_a_sam(
    shards: list[Path], sam: SamTeacher
) -> None:
    done = reinforced(shards[1:], sam)
    sidecar = MaskSidecar(done.written[0])
    assert sidecar.prompt_counts.tolist() == [PROMPTS] * (SCENES - 4)
    assert sidecar.header.teacher == sam.info and sidecar.header.shard == shards[1].name
    prompts = [sidecar.prompt(i, k) for i in range(SCENES - 4) for k in range(PROMPTS)]
    assert {(prompt.kind, len(prompt.masks)) for prompt in prompts} == {(0, 3), (1, 1), (2, 1)}
    assert all(len(prompt.iou) == len(prompt.masks) for prompt in prompts)


def test_the_same_seed_gives_the_same_bytes_and_another_one_others(
    shards: list[Path], tmp_path: Path
) -> None:
    first, again, other = (
        reinforced(shards, output=tmp_path / str(place), seed=seed).written
        for place, seed in enumerate((0, 0, 1))
    )
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in again]
    assert first[0].read_bytes() != other[0].read_bytes()


def test_a_run_that_was_stopped_goes_on_where_it_was(shards: list[Path]) -> None:
    class Stopped(Exception):
        pass

    def stop(progress: object) -> None:
        if getattr(progress, "samples_done", 0) == 5:
            raise Stopped

    with pytest.raises(Stopped):
        reinforced(shards, on_progress=stop)
    assert mask_sidecar_path(shards[0]).exists() and not mask_sidecar_path(shards[1]).exists()
    done = reinforced(shards)
    assert (len(done.kept), len(done.written), done.samples) == (1, 1, SCENES - 4)
    names = {path.name for path in shards[0].parent.iterdir()}
    assert names == {f"0000{i}.{end}" for i in (0, 1) for end in ("tar", "masks.safetensors")}


def test_a_shard_that_another_run_is_at_is_waited_for(shards: list[Path]) -> None:
    lock = SidecarLock(mask_sidecar_path(shards[0]))
    assert lock.acquire()
    waited = []

    def let_go(progress: object) -> None:
        waited.append(getattr(progress, "waiting", 0))
        if waited[-1]:
            lock.release()

    assert len(reinforced(shards, on_progress=let_go).written) == 2
    assert 1 in waited


def test_other_settings_and_a_changed_shard_are_told_from_those_of_a_finished_sidecar(
    shards: list[Path], tmp_path: Path
) -> None:
    reinforced(shards)
    with pytest.raises(ValueError, match=r"made with masks_per_picture = 5, but 6 is asked for"):
        reinforced(shards, masks_per_picture=6)
    content = shards[0].read_bytes()
    shards[0].write_bytes(content + bytes(10240))
    with pytest.raises(ValueError, match="it has changed"):
        reinforced(shards)


def test_an_altered_sidecar_is_found(shards: list[Path]) -> None:
    path = reinforced(shards).written[0]
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match="changed since it was written"):
        reinforced(shards)


def damaged_shard(folder: Path) -> list[Path]:
    """Three pictures: one with a mask, one whose mask is of another size, one without."""
    sample = next(iter(read_shard(scene_shards(folder / "scenes", 1)[0])))
    wrong = replace(sample, key="wrong", image=jpeg(0))
    bare = Sample(key="bare", image=jpeg(1), captions=("a thing",))
    return write_shards([sample, wrong, bare], folder / "damaged")


def test_an_unusable_sample_stops_the_run_or_is_left_without_prompts(tmp_path: Path) -> None:
    shards = damaged_shard(tmp_path)
    with pytest.raises(ValueError, match=r"Sample 'wrong' of shard .* has a mask of 64x64 pixels"):
        reinforced(shards)
    assert not mask_sidecar_path(shards[0]).exists()
    done = reinforced(shards, on_error="skip")
    assert [skipped.key for skipped in done.skipped] == ["wrong", "bare"]
    assert MaskSidecar(done.written[0]).prompt_counts.tolist() == [PROMPTS, 0, 0]


def test_a_sam_is_asked_on_a_grid_where_no_instance_is_known(
    tmp_path: Path, sam: SamTeacher
) -> None:
    done = reinforced(damaged_shard(tmp_path), sam, on_error="skip")
    sidecar = MaskSidecar(done.written[0])
    assert sidecar.prompt_counts.tolist() == [PROMPTS, 0, 4]
    assert {sidecar.prompt(2, k).kind for k in range(4)} == {0}


def coco(folder: Path) -> dict[str, Path]:
    (folder / "images").mkdir(parents=True)
    for i in (1, 2):
        (folder / f"images/{i:012d}.jpg").write_bytes(jpeg(i))
    images = [
        {"id": i, "file_name": f"{i:012d}.jpg", "width": 1, "height": 1, "url": "x"} for i in (1, 2)
    ]
    square = {
        "segmentation": [[5, 5, 25, 5, 25, 25, 5, 25]],
        "category_id": 3,
        "bbox": [5, 5, 20, 20],
    }
    files = {
        "instances": {
            "images": images,
            "annotations": [square | {"id": 7, "image_id": 2, "iscrowd": 0}],
            "categories": [{"id": 3, "name": "box"}],
        },
        "captions": {"images": images, "annotations": [{"image_id": 1, "caption": "a thing"}]},
    }
    for name, content in files.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    return {name: folder / f"{name}.json" for name in files}


def test_coco_becomes_shards_with_its_annotations_and_captions(tmp_path: Path) -> None:
    files = coco(tmp_path)
    shards = pack_coco(
        tmp_path / "images", files["instances"], tmp_path / "out", captions=files["captions"]
    )
    samples = {sample.key: sample for sample in read_shard(shards[0])}
    assert samples["000000000001"].captions == ("a thing",)
    assert samples["000000000002"].image == jpeg(2)
    content = json.loads(samples["000000000002"].extra["json"])
    assert content["categories"] == {"3": "box"} and content["annotations"][0]["id"] == 7
    sidecar = MaskSidecar(reinforced(shards).written[0])
    assert sorted(sidecar.prompt_counts.tolist()) == [0, PROMPTS]


def test_coco_files_that_are_not_there_or_not_as_coco_s_are_named(tmp_path: Path) -> None:
    files = coco(tmp_path)
    (tmp_path / "images/000000000002.jpg").unlink()
    with pytest.raises(FileNotFoundError, match=r"no picture '.*2.jpg'"):
        pack_coco(tmp_path / "images", files["instances"], tmp_path / "out")
    files["instances"].write_text("[]")
    with pytest.raises(ValueError, match="has no annotations and no images"):
        pack_coco(tmp_path / "images", files["instances"], tmp_path / "other")


def test_the_command_writes_sidecars_and_says_what_it_did(
    shards: list[Path], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    command = ["reinforce", "masks", str(shards[0].parent), "--masks-per-picture", "2"]
    folder = str(tmp_path / "masks")
    assert main([*command, "--teacher", "truth:sam-clip-tiny", "--output", folder]) == 0
    assert f"wrote 2 mask sidecars ({SCENES} samples)" in capsys.readouterr().out
    assert np.diff(MaskSidecar(Path(folder, "00000.masks.safetensors")).prompt_counts).sum() == 0
    assert main([*command, "--teacher", "sam:sam-clip-tiny"]) == 2
    assert "write sam:MODEL@WEIGHTS" in capsys.readouterr().err
