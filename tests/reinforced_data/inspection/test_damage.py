"""Whatever happens to the bytes of a shard or a sidecar is found, or changes nothing that is read.

Run: .venv/bin/pytest tests/reinforced_data/inspection/test_damage.py
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reinforced_shards import add_sidecar
from tiny_shards import make_samples

from zoo.reinforced_data.inspection.check import check_shard
from zoo.reinforced_data.shards.index import ShardIndex, load_picture
from zoo.reinforced_data.shards.read import read_shard
from zoo.reinforced_data.shards.write import write_shards
from zoo.reinforced_data.sidecars.sidecar import Sidecar, sidecar_path

Damage = Callable[[bytes], bytes]


def flipped(places: list[tuple[float, int]]) -> Damage:
    def damage(content: bytes) -> bytes:
        changed = bytearray(content)
        for place, bits in places:
            changed[int(place * len(changed))] ^= bits
        return bytes(changed)

    return damage


places = st.floats(0, 1, exclude_max=True)
flips = st.lists(st.tuples(places, st.integers(1, 255)), min_size=1, max_size=4).map(flipped)
truncations = places.map(lambda part: lambda content: content[: int(part * len(content))])
erasures = st.tuples(places, st.integers(1, 2000)).map(
    lambda hole: (
        lambda content: (
            content[: int(hole[0] * len(content))]
            + bytes(min(hole[1], len(content) - int(hole[0] * len(content))))
            + content[int(hole[0] * len(content)) + hole[1] :]
        )
    )
)
damages = st.one_of(flips, truncations, erasures)
limited = settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    (shard,) = write_shards(make_samples(4), tmp_path_factory.mktemp("sound"))
    add_sidecar(shard)
    return shard


def everything(shard: Path) -> list[Any]:
    """All that is read of a shard and its sidecar, as values that can be compared."""
    sidecar = Sidecar.open(sidecar_path(shard))
    header = sidecar.header
    teachers = list(sidecar.teachers)
    rows = range(header.samples)
    arrays = [sidecar.augment_params(i, a) for i in rows for a in range(header.augmentations)]
    for t in teachers:
        arrays += [sidecar.image_embeddings(t, slice(None), a) for a in range(header.augmentations)]
        arrays += [sidecar.text_embeddings(t, slice(None), c) for c in range(1 + header.captions)]
    samples = list(read_shard(shard))
    assert [ShardIndex(shard).read(i) for i in rows] == samples
    return [
        samples,
        header,
        sidecar.keys,
        sidecar.valid.tolist(),
        [sidecar.captions(i) for i in rows],
        [array.tobytes() for array in arrays],
    ]


def assert_readers_name_the_file(shard: Path) -> None:
    sidecar = sidecar_path(shard)
    try:
        Sidecar.open(sidecar).verify()
    except ValueError as error:
        assert str(sidecar) in str(error)
    try:
        index = ShardIndex(shard)
    except ValueError as error:
        assert str(shard) in str(error)
        return
    for i, key in enumerate(index.keys):
        try:
            load_picture(index, i)
        except ValueError as error:
            assert str(shard) in str(error)
            assert key in str(error)


@pytest.mark.parametrize("which", ["shard", "sidecar"])
def test_damage_is_found_or_harmless(sound: Path, tmp_path: Path, which: str) -> None:
    untouched = everything(sound)
    shard, sidecar = tmp_path / sound.name, tmp_path / sidecar_path(sound).name
    seen = {"found": 0, "harmless": 0}

    @limited
    @given(damages)
    def one_damage(damage: Damage) -> None:
        shutil.copyfile(sound, shard)
        shutil.copyfile(sidecar_path(sound), sidecar)
        damaged = shard if which == "shard" else sidecar
        damaged.write_bytes(damage(damaged.read_bytes()))
        findings = check_shard(shard).findings
        seen["found" if findings else "harmless"] += 1
        if findings:
            assert all(str(tmp_path) in one.what for one in findings)
            assert_readers_name_the_file(shard)
        else:
            assert everything(shard) == untouched

    one_damage()
    assert seen["found"] > 50


@limited
@given(data=st.binary(max_size=2000))
def test_any_bytes_are_a_finding_and_no_crash(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "s.tar").write_bytes(data)
    assert check_shard(tmp_path / "s.tar").findings


def test_flips_are_flips() -> None:
    content = np.arange(100, dtype=np.uint8).tobytes()
    assert flipped([(0.5, 3)])(content)[50] == 50 ^ 3
