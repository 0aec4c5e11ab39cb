"""A transfer goes from few labels to a tower with a head, and finished stages are kept.

Run: pytest tests/training/transfer/test_transfer.py
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from coloured_shards import coloured_samples, write_world
from safetensors.torch import load_file
from toy_batches import ALONE

from zoo.reinforced_data.augmentation.policy import AugmentationPolicy
from zoo.reinforced_data.curation.subset import Subset
from zoo.reinforced_data.engine import teachers
from zoo.reinforced_data.engine.teachers import load_teacher
from zoo.reinforced_data.shards.find import find_shards
from zoo.reinforced_data.shards.write import write_shards
from zoo.training.metrics.progress import Progress
from zoo.training.transfer.head import load_head
from zoo.training.transfer.labelled import choose_labels, encode_labelled, load_labelled
from zoo.training.transfer.settings import TransferSettings
from zoo.training.transfer.transfer import WAYS, Transfer, Way


class Stopped(Exception):
    """Stands for a signal that ends the process."""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world")
    write_world(folder)
    return folder


def settings_of(world: Path, output: Path, **changes: Any) -> TransferSettings:
    settings = TransferSettings(
        pool=str(world / "pool"),
        labelled=str(world / "labelled"),
        teacher=f"sage=zoo:mobileclip-tiny@{world / 'teacher.safetensors'}",
        output=output,
        labels_per_class=3,
        quota=2,
        batch_size=6,
        distillation_samples=24,
        fine_tuning_samples=12,
        augmentation=AugmentationPolicy(num_ops=0),
    )
    return replace(settings, **changes)


def run(settings: TransferSettings, way: Way = "task-oriented", stop: str = "") -> Transfer:
    def end_here(stage: str, progress: Progress) -> None:
        if stage == stop:
            raise Stopped

    transfer = Transfer(settings, world=ALONE, on_training=end_here)
    transfer.prepare()
    transfer.train(way)
    return transfer


def tensors_of(folder: Path) -> dict[str, bytes]:
    """What the stages hand on, without the runs' logs and checkpoints."""
    files = [file for depth in ("", "*/", "*/*/") for file in folder.glob(f"{depth}*.safetensors")]
    return {
        f"{file.relative_to(folder)} {name}": tensor.numpy().tobytes()
        for file in files
        for name, tensor in load_file(file).items()
    }


def test_few_labels_are_as_many_of_each_class_and_the_seed_decides_which(
    world: Path, tmp_path: Path
) -> None:
    shards = find_shards(world / "labelled")
    chosen: list[set[str]] = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        path = tmp_path / f"{name}.subset.safetensors"
        choose_labels(shards, 2, path, seed=seed)
        subset = Subset.open(path)
        chosen.append({key for shard in shards for key in subset.keys(shard.name)})
    assert chosen[0] == chosen[1] != chosen[2]
    assert sorted(int(key[1:]) % 3 for key in chosen[0]) == [0, 0, 1, 1, 2, 2]
    with pytest.raises(ValueError, match="Class 0 has 4 labelled pictures, fewer than 5"):
        choose_labels(shards, 5, tmp_path / "d.subset.safetensors", seed=0)


def test_a_picture_without_a_label_is_named(world: Path, tmp_path: Path) -> None:
    unlabelled = [replace(sample, label=None) for sample in coloured_samples(2, "u")]
    shards = write_shards(unlabelled, tmp_path / "unlabelled")
    teacher = load_teacher(f"zoo:mobileclip-tiny@{world / 'teacher.safetensors'}")
    with pytest.raises(ValueError, match=r"'u000' of shard .* has no label"):
        encode_labelled(shards, teacher)


@pytest.mark.parametrize("way", WAYS)
def test_every_way_ends_with_a_tower_and_a_head_that_fit_together(
    way: Way, world: Path, tmp_path: Path
) -> None:
    settings = settings_of(world, tmp_path / "transfer")
    transfer = Transfer(settings, world=ALONE)
    transfer.prepare()
    trained = transfer.train(way)
    assert trained.head is not None
    head = load_head(trained.head)
    tower = load_teacher(f"zoo:mobileclip-tiny@{trained.weights}")
    labelled = encode_labelled(find_shards(world / "labelled"), tower)
    assert head(labelled.features).shape == (12, 3)
    assert head.weight.abs().max() > 0
    assert json.loads((tmp_path / "transfer" / "transfer.json").read_text())["quota"] == 2


def test_the_transfer_set_holds_the_pictures_nearest_to_the_labelled_ones(
    world: Path, tmp_path: Path
) -> None:
    transfer = Transfer(settings_of(world, tmp_path / "transfer"), world=ALONE)
    transfer.prepare()
    assert len(Subset.open(transfer.transfer_set)) == 18  # 2 for each of 3 × 3
    labelled = load_labelled(tmp_path / "transfer" / "teacher.safetensors")
    assert (labelled.of, len(labelled.labels)) == ("sage", 9)
    with torch.no_grad():
        predicted = load_head(transfer.teacher_head)(labelled.features).argmax(dim=1)
    assert predicted.equal(labelled.labels)


def test_a_transfer_that_was_stopped_goes_on_and_ends_with_the_same_tensors(
    world: Path, tmp_path: Path
) -> None:
    whole = settings_of(world, tmp_path / "whole")
    run(whole)
    parts = replace(whole, output=tmp_path / "parts", workers=1)
    with pytest.raises(Stopped):
        run(parts, stop="task-oriented, fine-tuning")
    assert (tmp_path / "parts" / "task-oriented" / "distillation" / "head.safetensors").exists()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            teachers, "load_image_text_model", None
        )  # the teacher is not even loaded again
        run(parts)
    assert tensors_of(tmp_path / "parts") == tensors_of(tmp_path / "whole")


def test_the_teacher_is_not_run_while_towers_are_trained(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    transfer = Transfer(settings_of(world, tmp_path / "transfer"), world=ALONE)
    transfer.prepare()
    monkeypatch.setattr(teachers.Teacher, "encode_pixels", None)
    transfer.train("task-oriented")


def test_towers_begin_with_the_weights_that_are_given(world: Path, tmp_path: Path) -> None:
    settings = settings_of(world, tmp_path / "first", fine_tuning_samples=6)
    init = run(settings).train("task-oriented").weights
    again = settings_of(world, tmp_path / "second", init=init, distillation_learning_rate=1e-9)
    again = replace(again, fine_tuning_learning_rate=1e-9)
    trained = run(again, "labels-only").train("labels-only")
    assert trained.head is not None
    before, after = (load_file(weights) for weights in (init, trained.weights))
    for name in ("stem", "head"):
        (key, *_) = [key for key in before if name in key and key.endswith("weight")]
        torch.testing.assert_close(after[key], before[key], atol=1e-6, rtol=0)
    # Its head was fitted before the first step.
    start = load_head(tmp_path / "second" / "labels-only" / "starting-head.safetensors")
    torch.testing.assert_close(load_head(trained.head).weight, start.weight, atol=1e-6, rtol=0)
    assert start.weight.abs().max() > 0.01


def test_another_transfer_in_the_folder_and_a_pool_without_sidecars_are_refused(
    world: Path, tmp_path: Path
) -> None:
    Transfer(settings_of(world, tmp_path / "transfer"), world=ALONE)
    with pytest.raises(ValueError, match="was begun with quota=2, this run has quota=3"):
        Transfer(settings_of(world, tmp_path / "transfer", quota=3), world=ALONE)
    bare = settings_of(world, tmp_path / "bare", pool=str(world / "labelled"))
    with pytest.raises(ValueError, match=r"no sidecar .* make it with `zoo reinforce`"):
        Transfer(bare, world=ALONE)
    assert not (tmp_path / "bare").exists()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("quota", 0),
        ("labels_per_class", 0),
        ("fine_tuning_samples", 1),
        ("model", "mobileclip-huge"),
    ],
)
def test_settings_that_cannot_work_are_refused_before_anything_runs(
    field: str, value: Any, world: Path, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=r"quota|labels_per_class|samples_seen|mobileclip-hug"):
        settings_of(world, tmp_path, **{field: value})


def test_a_damaged_file_of_a_stage_is_named(world: Path, tmp_path: Path) -> None:
    transfer = Transfer(settings_of(world, tmp_path / "transfer"), world=ALONE)
    transfer.prepare()
    features = tmp_path / "transfer" / "teacher.safetensors"
    features.write_bytes(features.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"teacher.safetensors' is damaged; delete it"):
        transfer.train("labels-only")
