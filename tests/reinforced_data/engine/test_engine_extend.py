"""What sidecars hold already is kept, what they lack is added, and the bytes are those of one run.

.venv/bin/pytest tests/reinforced_data/engine/test_engine_extend.py
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tiny_shards import make_samples, random_teacher

from zoo.reinforced_data.engine.reinforce import ReinforceReport, reinforce
from zoo.reinforced_data.engine.teachers import Teacher
from zoo.reinforced_data.shards.write import write_shards
from zoo.reinforced_data.sidecars.sidecar import Sidecar, sidecar_path


class CountingCaptioner:
    """Says the picture's size and key; counts what it was asked."""

    def __init__(self) -> None:
        self.settings = {"name": "counting"}
        self.asked = 0

    def captions(
        self, images: Sequence[Image.Image], keys: Sequence[str], count: int
    ) -> list[tuple[str, ...]]:
        self.asked += len(images)
        return [
            tuple(f"{image.width} x {image.height}, {key}, {c}" for c in range(count))
            for image, key in zip(images, keys, strict=True)
        ]


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch) -> Teacher:
    """The teacher `tiny`, which must not be run again."""
    teacher = random_teacher("tiny", 0)

    def refuse(*_: object) -> np.ndarray:
        raise AssertionError("a stored teacher was run")

    monkeypatch.setattr(teacher, "encode_pixels", refuse)
    monkeypatch.setattr(teacher, "encode_texts", refuse)
    return teacher


def run(shards: Any, *teachers: Teacher, **changes: Any) -> ReinforceReport:
    settings: dict[str, Any] = {"augmentations": 3, "batch_size": 12, "seed": 3}
    return reinforce(shards, teachers=teachers, **(settings | changes))


def contents(shards: list[Path]) -> list[bytes]:
    return [sidecar_path(shard).read_bytes() for shard in shards]


@pytest.fixture
def at_once(shards: list[Path], teacher: Teacher, second_teacher: Teacher) -> list[bytes]:
    """Sidecars of both teachers, made in one run with captions and taken away again."""
    run(shards, teacher, second_teacher, captioner=CountingCaptioner(), captions=2)
    result = contents(shards)
    for shard in shards:
        sidecar_path(shard).unlink()
    return result


@pytest.mark.parametrize("extend", [False, True])
def test_a_teacher_that_is_added_gives_the_bytes_of_a_run_with_both(
    shards: list[Path],
    teacher: Teacher,
    silent: Teacher,
    second_teacher: Teacher,
    at_once: list[bytes],
    extend: bool,
) -> None:
    run(shards, teacher, captioner=CountingCaptioner(), captions=2)
    captioner = CountingCaptioner()
    if extend:
        report = run(shards, second_teacher, extend=True, augmentations=7, seed=8)
    else:
        report = run(shards, silent, second_teacher, captioner=captioner, captions=2)
    assert contents(shards) == at_once
    assert len(report.written) == 2 and captioner.asked == 0


def test_asking_for_some_of_the_stored_teachers_keeps_all(
    shards: list[Path], teacher: Teacher, second_teacher: Teacher
) -> None:
    run(shards, teacher, second_teacher)
    before = contents(shards)
    assert run(shards, second_teacher).written == ()
    assert contents(shards) == before


def test_captions_that_are_added_give_the_bytes_of_one_run(
    shards: list[Path], teacher: Teacher, second_teacher: Teacher, at_once: list[bytes]
) -> None:
    run(shards, teacher, second_teacher)
    captioner = CountingCaptioner()
    run(shards, teacher, second_teacher, captioner=captioner, captions=2)
    assert contents(shards) == at_once
    assert captioner.asked == 11


def test_captions_need_every_stored_teacher_to_read_them(
    shards: list[Path], teacher: Teacher, second_teacher: Teacher
) -> None:
    run(shards, teacher, second_teacher)
    before = contents(shards)
    with pytest.raises(ValueError, match=r"00000\.reinforced.* name 'other\.tiny' among"):
        run(shards, teacher, captioner=CountingCaptioner(), captions=2)
    assert contents(shards) == before


def test_nothing_is_extended_where_nothing_is(shards: list[Path], teacher: Teacher) -> None:
    with pytest.raises(ValueError, match=r"There is no '.*00000\.reinforced.*' to extend"):
        run(shards, teacher, extend=True)


def test_a_teacher_of_the_same_name_with_other_weights_is_refused(
    shards: list[Path], teacher: Teacher
) -> None:
    run(shards, teacher)
    with pytest.raises(ValueError, match=r"was made with teacher 'tiny' = .*random 0.*random 5"):
        run(shards, random_teacher("tiny", 5), extend=True)


def test_rows_that_were_skipped_stay_so_and_the_others_get_the_new_teacher(
    tmp_path: Path, teacher: Teacher, second_teacher: Teacher
) -> None:
    samples = make_samples(4)
    samples[1] = type(samples[1])(key="silent", image=samples[1].image)
    (shard,) = write_shards(samples, tmp_path / "shards")
    run([shard], teacher, on_error="skip")
    run([shard], teacher, second_teacher)
    sidecar = Sidecar.open(sidecar_path(shard))
    assert sidecar.valid.tolist() == [True, False, True, True]
    seen = sidecar.image_embeddings("other.tiny", slice(None), 0)
    assert seen.any(axis=1).tolist() == sidecar.valid.tolist()


def test_a_shard_whose_pictures_changed_is_not_extended(
    tmp_path: Path, shards: list[Path], teacher: Teacher, second_teacher: Teacher
) -> None:
    samples = make_samples(6)
    (shard,) = write_shards(samples, tmp_path / "one")
    run([shard], teacher)
    before = shard.read_bytes()
    place = before.index(samples[2].image) + len(samples[2].image) - 9
    shard.write_bytes(before[:place] + bytes([before[place] ^ 1]) + before[place + 1 :])
    with pytest.raises(ValueError, match=r"Sample 'photo002' of .* is not the one that"):
        run([shard], teacher, second_teacher)
