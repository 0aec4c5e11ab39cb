"""The engine writes what the teachers say, once, whole, the same every time.

.venv/bin/pytest tests/reinforced_data/engine/test_engine.py
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_shards import SAMPLES, make_samples

from zoo.models.preprocess import open_image
from zoo.reinforced_data.augmentation.policy import AugmentationPolicy
from zoo.reinforced_data.engine.captioners.retrieval import RetrievalCaptioner
from zoo.reinforced_data.engine.reinforce import Progress, ReinforceReport, reinforce
from zoo.reinforced_data.engine.teachers import Teacher
from zoo.reinforced_data.loading.loader import Loader
from zoo.reinforced_data.shards.read import read_shard
from zoo.reinforced_data.shards.sample import Sample
from zoo.reinforced_data.shards.write import write_shards
from zoo.reinforced_data.sidecars.sidecar import Sidecar, sidecar_path

CORPUS = [
    f"a {size} {thing}" for size in ("big", "small") for thing in ("cat", "dog", "car", "sea")
]

HELPERS = Path(__file__).parent.parent.parent / "helpers"

Run = Callable[..., ReinforceReport]


@pytest.fixture
def run(teacher: Teacher) -> Run:
    captioner = RetrievalCaptioner(teacher, CORPUS, top_k=5)

    def reinforce_small(shards: list[Path], **changes: Any) -> ReinforceReport:
        settings: dict[str, Any] = {
            "teachers": [teacher],
            "captioner": captioner,
            "augmentations": 3,
            "captions": 2,
            "batch_size": 4,
            "seed": 3,
        }
        return reinforce(shards, **(settings | changes))

    return reinforce_small


def contents(shards: list[Path]) -> list[bytes]:
    return [sidecar_path(shard).read_bytes() for shard in shards]


@pytest.mark.parametrize(("storage", "tolerance"), [("fp32", 2e-6), ("int8", 8e-3)])
def test_every_row_is_what_the_teachers_say_of_the_replayed_picture_and_its_captions(
    run: Run,
    shards: list[Path],
    teacher: Teacher,
    second_teacher: Teacher,
    storage: str,
    tolerance: float,
) -> None:
    run(shards, teachers=[teacher, second_teacher], storage=storage)
    for shard in shards:
        sidecar = Sidecar.open(sidecar_path(shard))
        for i, sample in enumerate(read_shard(shard)):
            assert sidecar.keys[i] == sample.key and sidecar.valid[i]
            content = sample.image + "\n".join(sample.captions).encode()
            assert sidecar.digests[i].tobytes() == blake2b(content, digest_size=8).digest()
            image = open_image(sample.image)
            texts = [sample.captions[0], *sidecar.captions(i)]
            views = [
                sidecar.policy.replay(image, sidecar.augment_params(i, a), 64) for a in range(3)
            ]
            for by_hand in (teacher, second_teacher):
                stored = [sidecar.image_embedding(by_hand.name, i, a) for a in range(3)]
                assert np.abs(by_hand.encode_images(views) - stored).max() < tolerance
                stored = [sidecar.text_embedding(by_hand.name, i, row) for row in range(3)]
                assert np.abs(by_hand.encode_texts(texts) - stored).max() < tolerance


def test_augmentations_differ_between_samples_and_between_the_views_of_one(
    run: Run, shards: list[Path]
) -> None:
    run(shards)
    sidecars = [Sidecar.open(sidecar_path(shard)) for shard in shards]
    records = {
        sidecar.augment_params(i, a).tobytes()
        for sidecar in sidecars
        for i in range(len(sidecar.keys))
        for a in range(3)
    }
    assert len(records) == 3 * SAMPLES


def test_the_header_records_everything_that_was_asked(
    run: Run, shards: list[Path], teacher: Teacher
) -> None:
    policy = AugmentationPolicy(scale=(0.5, 1.0), flip_probability=0.5)
    run(shards, policy=policy)
    header = Sidecar.open(sidecar_path(shards[0])).header
    assert (header.shard, header.samples) == ("00000.tar", 6)
    assert header.shard_bytes == shards[0].stat().st_size
    assert (header.augmentation, header.augmentations, header.captions) == (policy, 3, 2)
    assert header.captioner["name"] == "retrieval" and header.captioner["top_k"] == 5
    assert header.seed == 3 and "torch" in header.packages
    (info,) = header.teachers
    assert (info.name, info.pretrained, info.embed_dim) == ("tiny", "random 0", 128)
    assert info.logit_scale == pytest.approx(1 / 0.07) and info.image_size == 64


def test_running_again_keeps_finished_sidecars_and_makes_missing_ones_the_same(
    run: Run, shards: list[Path]
) -> None:
    first = run(shards)
    assert first.written == tuple(map(sidecar_path, shards)) and first.samples == SAMPLES
    before, times = contents(shards), [sidecar_path(s).stat().st_mtime_ns for s in shards]
    assert run(shards).written == ()
    sidecar_path(shards[1]).unlink()
    again = run(shards)
    assert (again.kept, again.written) == ((first.written[0],), (first.written[1],))
    assert contents(shards) == before
    assert sidecar_path(shards[0]).stat().st_mtime_ns == times[0]


def test_overwriting_gives_the_same_bytes_and_never_touches_a_shard(
    run: Run, shards: list[Path]
) -> None:
    tars = [shard.read_bytes() for shard in shards]
    run(shards)
    before = contents(shards)
    assert len(run(shards, overwrite=True).written) == 2
    assert contents(shards) == before
    assert [shard.read_bytes() for shard in shards] == tars
    run(shards, seed=4, overwrite=True)
    assert contents(shards)[0] != before[0]


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("seed", {"seed": 4}),
        ("augmentations", {"augmentations": 2}),
        ("captions", {"captions": 1}),
        ("augmentation", {"policy": AugmentationPolicy(num_ops=0)}),
        ("teacher 'tiny'", {"storage": "fp16"}),
        ("captions", {"captioner": None, "captions": 0}),
    ],
)
def test_a_finished_sidecar_made_with_other_settings_is_an_error_that_names_them(
    run: Run, shards: list[Path], name: str, change: dict[str, Any]
) -> None:
    run(shards[:1])
    before = contents(shards[:1])
    with pytest.raises(ValueError, match=rf"00000.reinforced.* was made with {name} = "):
        run(shards, **change)
    assert contents(shards[:1]) == before
    assert not sidecar_path(shards[1]).exists()


def test_another_corpus_for_the_captioner_is_another_setting(
    run: Run, shards: list[Path], teacher: Teacher
) -> None:
    run(shards[:1])
    with pytest.raises(ValueError, match="was made with captioner = "):
        run(shards, captioner=RetrievalCaptioner(teacher, [*CORPUS, "a bird"], top_k=5))


def test_a_damaged_sidecar_or_a_changed_shard_is_refused(run: Run, shards: list[Path]) -> None:
    run(shards)
    path = sidecar_path(shards[0])
    whole = path.read_bytes()
    path.write_bytes(whole[:-7])
    with pytest.raises(ValueError, match=r"00000\.reinforced.* its header says"):
        run(shards)
    path.write_bytes(whole[:-7] + bytes([whole[-7] ^ 1]) + whole[-6:])
    with pytest.raises(ValueError, match=r"00000\.reinforced.* has values that changed"):
        run(shards)
    path.write_bytes(whole)
    os.replace(shards[1], shards[0])
    with pytest.raises(ValueError, match=r"has 6 samples but '.*00000\.tar' has 5"):
        run(shards[:1])


def broken_shard(folder: Path) -> Path:
    samples = make_samples(6)
    samples[2] = Sample(key="broken", image=samples[2].image[:300], captions=("a cat",))
    samples[4] = Sample(key="silent", image=samples[4].image)
    return write_shards(samples, folder)[0]


def test_an_unusable_sample_stops_the_run_by_its_name(run: Run, tmp_path: Path) -> None:
    shard = broken_shard(tmp_path / "s")
    with pytest.raises(ValueError, match=r"'broken' of shard .*00000.tar has no usable picture"):
        run([shard])
    assert sorted(p.name for p in shard.parent.iterdir()) == ["00000.tar"]


def test_pictures_alone_are_reinforced_for_tasks_that_read_no_captions(
    run: Run, tmp_path: Path
) -> None:
    alone = [Sample(key=one.key, image=one.image) for one in make_samples(4)]
    (shard,) = write_shards(alone, tmp_path)
    run([shard], captioner=None, captions=0)
    assert Sidecar.open(sidecar_path(shard)).valid.all()
    settings: dict[str, Any] = {"tokenize": lambda _: torch.zeros(2, 1), "reinforced": True}
    settings |= {"image_size": 16, "batch_size": 2}
    keys = next(iter(Loader([shard], texts=False, **settings))).keys()
    assert keys == {"image", "teacher_image.tiny"}
    with pytest.raises(ValueError, match="has no caption; add one"):
        next(iter(Loader([shard], **settings)))


@pytest.mark.parametrize("batch_size", [1, 4])
def test_a_skipped_sample_keeps_its_row_and_shifts_no_other(
    run: Run, tmp_path: Path, batch_size: int
) -> None:
    shard = broken_shard(tmp_path / "broken")
    whole = write_shards(make_samples(6), tmp_path / "whole")[0]
    report = run([shard], on_error="skip", batch_size=batch_size, storage="fp32")
    run([whole], batch_size=batch_size, storage="fp32")
    assert [(s.shard, s.key) for s in report.skipped] == [(shard, "broken"), (shard, "silent")]
    assert "no caption" in report.skipped[1].reason
    skipped, expected = Sidecar.open(sidecar_path(shard)), Sidecar.open(sidecar_path(whole))
    assert skipped.valid.tolist() == [True, True, False, True, False, True]
    assert skipped.captions(2) == ("", "")
    assert skipped.digests[2].any(), "its bytes are known, though no picture"
    for i in (0, 1, 3, 5):
        assert skipped.captions(i) == expected.captions(i)
        assert (skipped.augment_params(i, 1) == expected.augment_params(i, 1)).all()
        difference = skipped.image_embedding("tiny", i, 1) - expected.image_embedding("tiny", i, 1)
        assert np.abs(difference).max() < 2e-6


def test_progress_counts_every_sample_once_and_ends_at_the_end(
    run: Run, shards: list[Path]
) -> None:
    seen: list[Progress] = []
    run(shards, batch_size=12, on_progress=seen.append)  # 4 samples with 3 views each
    assert [p.samples_done for p in seen] == [4, 6, 10, 11]
    assert [p.shards_done for p in seen] == [0, 1, 1, 2]
    assert seen[0].seconds_left > 0 and seen[-1].seconds_left == 0
    assert all(p.samples_per_second > 0 for p in seen)


def test_an_interrupted_shard_leaves_nothing(run: Run, shards: list[Path]) -> None:
    def interrupt(progress: Progress) -> None:
        if progress.samples_done > 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(shards, on_progress=interrupt)
    names = sorted(p.name for p in shards[0].parent.iterdir())
    assert names == ["00000.reinforced.safetensors", "00000.tar", "00001.tar"]


def test_a_killed_run_leaves_only_whole_sidecars(
    run: Run, shards: list[Path], teacher: Teacher
) -> None:
    """A child process is killed when its second shard is in work."""
    code = (
        "import sys, time\n"
        "sys.path.insert(0, sys.argv[1])\n"
        "from tiny_shards import random_teacher\n"
        "from zoo.reinforced_data.engine.reinforce import reinforce\n"
        "slow = lambda progress: time.sleep(60 if progress.samples_done > 6 else 0)\n"
        "reinforce(sys.argv[2], teachers=[random_teacher('tiny', 0)], augmentations=3,\n"
        "    batch_size=4, seed=3, on_progress=slow)\n"
    )
    folder = shards[0].parent
    child = subprocess.Popen([sys.executable, "-c", code, str(HELPERS), str(folder)])
    try:
        deadline = time.monotonic() + 50
        while not sidecar_path(shards[0]).exists() and time.monotonic() < deadline:
            time.sleep(0.1)
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()
    assert not sidecar_path(shards[1]).exists()
    report = run(shards, captioner=None, captions=0)
    assert report.kept == (sidecar_path(shards[0]),)


def test_settings_that_contradict_each_other_are_refused(run: Run, shards: list[Path]) -> None:
    with pytest.raises(ValueError, match="give a captioner and how many captions"):
        run(shards, captions=0)
    with pytest.raises(ValueError, match="each with its own name"):
        run(shards, teachers=[])
    with pytest.raises(ValueError, match="augmentations is 0; give at least 1"):
        run(shards, augmentations=0)
    with pytest.raises(ValueError, match="storage is int4 for 1 teachers"):
        run(shards, storage="int4")
    with pytest.raises(ValueError, match="storage is int8, fp32 for 1 teachers"):
        run(shards, storage=("int8", "fp32"))


def test_each_teacher_can_have_its_own_storage(
    run: Run, shards: list[Path], teacher: Teacher, second_teacher: Teacher
) -> None:
    run(shards, teachers=[teacher, second_teacher], storage=("fp32", "int8"))
    stored = [Sidecar.open(sidecar_path(shard)) for shard in shards]
    for sidecar in stored:
        assert [info.storage for info in sidecar.teachers.values()] == ["fp32", "int8"]
        assert set(sidecar.stored("image", teacher.name).tensors) == {"values"}
        assert set(sidecar.stored("image", second_teacher.name).tensors) == {"values", "scale"}
