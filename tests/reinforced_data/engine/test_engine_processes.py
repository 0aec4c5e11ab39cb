"""Several processes and a Ray cluster make the set that one process makes, also when one is killed.

.venv/bin/pytest -m slow tests/reinforced_data/engine/test_engine_processes.py
"""

import os
import signal
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from tiny_shards import make_samples

from zoo.models.load import load_model
from zoo.reinforced_data.engine.reinforce import Progress, reinforce_by_names
from zoo.reinforced_data.engine.specification import Specification
from zoo.reinforced_data.shards.write import write_shards
from zoo.reinforced_data.sidecars.sidecar import sidecar_path


@pytest.fixture
def many_shards(tmp_path: Path) -> list[Path]:
    """Six shards of five samples."""
    return write_shards(make_samples(30), tmp_path / "shards", samples_per_shard=5)


@pytest.fixture
def specification(tmp_path: Path) -> Specification:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = load_model("mobileclip-tiny", weights=None)
    save_file(model.state_dict(), tmp_path / "tiny.safetensors")
    teacher = f"zoo:mobileclip-tiny@{tmp_path / 'tiny.safetensors'}"
    return Specification(
        teachers=(teacher,),
        captioner="retrieval",
        candidates=("a cat", "a dog", "the sea"),
        captions=2,
        augmentations=3,
        batch_size=6,
    )


def contents(shards: list[Path]) -> list[bytes]:
    return [sidecar_path(shard).read_bytes() for shard in shards]


@pytest.fixture
def expected(many_shards: list[Path], specification: Specification) -> list[bytes]:
    """What one process makes; it is taken away again."""
    reinforce_by_names(many_shards, specification)
    result = contents(many_shards)
    for shard in many_shards:
        sidecar_path(shard).unlink()
    return result


def child_processes(name: str) -> list[int]:
    """Descendants of this process whose command holds `name`."""
    parents, commands = {}, {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (entry / "stat").exists():
            status = (entry / "stat").read_text().rpartition(")")[2].split()
            parents[int(entry.name)] = int(status[1])
            commands[int(entry.name)] = (entry / "cmdline").read_text()
    family = {os.getpid()}
    for _ in range(5):
        family |= {pid for pid, parent in parents.items() if parent in family}
    return sorted(pid for pid in family if name in commands.get(pid, ""))


class KillOne:
    """Kills one process when the first samples are done."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.killed: int | None = None

    def __call__(self, progress: Progress) -> None:
        if self.killed is None and progress.samples_done:
            self.killed = child_processes(self.name)[-1]
            os.kill(self.killed, signal.SIGKILL)


@pytest.mark.slow
def test_several_processes_share_the_shards(
    many_shards: list[Path], specification: Specification, expected: list[bytes]
) -> None:
    seen: list[Progress] = []
    report = reinforce_by_names(
        many_shards, specification, processes=2, workers=1, on_progress=seen.append
    )
    assert contents(many_shards) == expected
    assert report.written == tuple(map(sidecar_path, many_shards)) and report.samples == 30
    assert (seen[-1].samples_done, seen[-1].shards_done, seen[-1].seconds_left) == (30, 6, 0)
    again = reinforce_by_names(many_shards, specification, processes=2)
    assert (again.written, again.kept) == ((), report.written)


@pytest.mark.slow
def test_the_shards_of_a_killed_process_are_taken_over(
    many_shards: list[Path], specification: Specification, expected: list[bytes]
) -> None:
    kill_one = KillOne("spawn_main")
    reinforce_by_names(many_shards, specification, processes=2, on_progress=kill_one)
    assert kill_one.killed and contents(many_shards) == expected
    assert len(list(many_shards[0].parent.iterdir())) == 12


@pytest.mark.slow
def test_an_error_in_one_process_ends_all_with_its_sentence(
    many_shards: list[Path], specification: Specification
) -> None:
    many_shards[3].write_bytes(many_shards[3].read_bytes()[:3000])
    with pytest.raises(ValueError, match=r"00003\.tar"):
        reinforce_by_names(many_shards, specification, processes=2)
    assert [p for p in many_shards[0].parent.iterdir() if p.name.startswith(".")] == []


@pytest.mark.slow
def test_a_ray_cluster_survives_the_loss_of_a_worker(
    many_shards: list[Path], specification: Specification, expected: list[bytes]
) -> None:
    pytest.importorskip("ray")
    kill_one = KillOne("ray::ShardWorker")
    report = reinforce_by_names(
        many_shards, specification, processes=2, cluster="local", on_progress=kill_one
    )
    assert kill_one.killed and contents(many_shards) == expected
    assert len(report.written) + len(report.kept) == 6
    assert len(list(many_shards[0].parent.iterdir())) == 12
