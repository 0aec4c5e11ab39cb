"""Shards and sidecars may lie in other folders or at URLs; what is damaged is told, not followed.

.venv/bin/pytest tests/reinforced_data/engine/test_engine_places.py
"""

from pathlib import Path
from typing import Any

import fsspec
import pytest
from tiny_shards import make_samples

from zoo.reinforced_data.engine import reinforce as engine
from zoo.reinforced_data.engine.reinforce import ReinforceReport, reinforce
from zoo.reinforced_data.engine.teachers import Teacher
from zoo.reinforced_data.shards.write import write_shards
from zoo.reinforced_data.sidecars.sidecar import sidecar_path


@pytest.fixture(autouse=True)
def copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(engine, "COPIES_FOLDER", tmp_path / "copies")
    return tmp_path / "copies"


def run(shards: Any, *teachers: Teacher, **changes: Any) -> ReinforceReport:
    return reinforce(shards, teachers=teachers, augmentations=2, batch_size=8, **changes)


def contents(shards: list[Path]) -> list[bytes]:
    return [sidecar_path(shard).read_bytes() for shard in shards]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("workers", [1, 2])
def test_bytes_do_not_depend_on_the_number_of_workers(
    shards: list[Path], teacher: Teacher, second_teacher: Teacher, workers: int
) -> None:
    run(shards, teacher, second_teacher)
    alone = contents(shards)
    run(shards, teacher, second_teacher, workers=workers, overwrite=True)
    assert contents(shards) == alone


def test_an_output_folder_gets_the_sidecars_and_is_looked_at_again(
    shards: list[Path], teacher: Teacher, tmp_path: Path
) -> None:
    output = tmp_path / "elsewhere"
    report = run(shards, teacher, output=output)
    assert names(output) == ["00000.reinforced.safetensors", "00001.reinforced.safetensors"]
    assert report.written == tuple(output / name for name in names(output))
    assert names(shards[0].parent) == ["00000.tar", "00001.tar"]
    assert run(shards, teacher, output=output).kept == report.written


def test_two_shards_of_one_name_cannot_share_an_output(
    shards: list[Path], teacher: Teacher, tmp_path: Path
) -> None:
    (other,) = write_shards(make_samples(2), tmp_path / "other")
    with pytest.raises(ValueError, match=r"would share the sidecar .*out/00000\.reinforced"):
        run([*shards, other], teacher, output=tmp_path / "out")


def test_shards_and_sidecars_at_urls_give_the_bytes_of_local_ones(
    shards: list[Path], teacher: Teacher, second_teacher: Teacher, copies: Path
) -> None:
    store: Any = fsspec.filesystem("memory")
    for shard in shards:
        store.pipe_file(f"/data/{shard.name}", shard.read_bytes())
    url = "memory://data/{00000..00001}.tar"
    with pytest.raises(ValueError, match="name an output folder or URL"):
        run(url, teacher)
    report = run(url, teacher, output="memory://sidecars/")
    assert report.written[0] == "memory://sidecars/00000.reinforced.safetensors"
    assert run(url, teacher, output="memory://sidecars").kept == report.written
    run(url, second_teacher, output="memory://sidecars", extend=True)
    run(shards, teacher, second_teacher)
    for shard, content in zip(shards, contents(shards), strict=True):
        assert store.cat_file(f"/sidecars/{sidecar_path(shard).name}") == content
    assert names(copies) == []


def test_a_damaged_shard_ends_the_run_or_is_listed_and_left_out(
    shards: list[Path], teacher: Teacher
) -> None:
    shards[0].write_bytes(shards[0].read_bytes()[:2000])
    with pytest.raises(ValueError, match=r"00000\.tar"):
        run(shards, teacher)
    report = run(shards, teacher, on_error="skip")
    assert report.written == (sidecar_path(shards[1]),)
    (skipped,) = report.skipped
    assert (skipped.shard, skipped.key) == (shards[0], None)
    assert "zoo data repair" in skipped.reason
    assert names(shards[0].parent) == ["00000.tar", "00001.reinforced.safetensors", "00001.tar"]
