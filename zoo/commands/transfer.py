"""`zoo transfer`: a small tower for one task, from a teacher, few labels and a reinforced pool."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, cast

import numpy as np
import torch
import tyro
from PIL import Image

from zoo.commands.console import duration, heading, say, show_table, status
from zoo.commands.curate_output import Progress as CurationProgress
from zoo.commands.evaluate import RESULTS
from zoo.eval.datasets import EvalDataset, read_tar_dataset
from zoo.eval.results import append_result, result_record
from zoo.eval.zero_shot import classification_metrics
from zoo.models.checkpoint import weights_sha256
from zoo.reinforced_data.engine.teachers import Teacher, load_teacher
from zoo.training.metrics.progress import Progress
from zoo.training.parallel.world import training_world
from zoo.training.transfer.head import load_head
from zoo.training.transfer.settings import TransferSettings
from zoo.training.transfer.transfer import WAYS, Transfer, Way

_BATCH = 64
_TEACHER = "teacher with its head"


def transfer(
    *,
    settings: Annotated[TransferSettings, tyro.conf.arg(name="")],
    validation: Path,
    ways: tuple[Way, ...] = WAYS,
    results: Path = RESULTS,
    device: str = "cpu",
) -> None:
    """Task-oriented transfer: a teacher's head, a transfer set, distillation, fine-tuning.

    A head is fitted on the frozen teacher's features of few labelled pictures; the small tower
    learns its outputs on pictures of the pool that resemble them, then the labels. To compare, a
    tower learns the teacher's features first, and another one the labels alone. The pool's shards
    are reinforced by `zoo reinforce` before. Finished stages are kept, so that the same command
    goes on with a transfer that was stopped.

    Args:
        validation: labelled shards on which every tower is evaluated with its head.
        ways: which towers to train.
        results: file that the JSON lines are appended to.
        device: where to train, e.g. cuda.
    """
    dataset = read_tar_dataset(validation)
    if dataset.labels is None:
        raise ValueError(f"'{validation}' has no labels; give shards with a .cls a picture.")
    with training_world(device) as world:
        if world.size > 1:
            raise ValueError(
                "zoo transfer runs in one process; train its recipes (`zoo train --list`) alone to "
                "use several."
            )
        run = Transfer(
            settings, world=world, on_progress=CurationProgress(), on_training=_show_training
        )
        run.prepare()
        teacher = load_teacher(settings.teacher, device=world.device)
        rows = [_evaluate(settings, dataset, _TEACHER, teacher, run.teacher_head, results)]
        for way in ways:
            trained = run.train(way)
            assert trained.head is not None
            spec = f"zoo:{settings.model}@{trained.weights}"
            tower = load_teacher(spec, device=world.device)
            rows.append(_evaluate(settings, dataset, way, tower, trained.head, results))
    heading(f"{len(dataset)} pictures of {dataset.name}")
    show_table(["", "top-1", "mean recall of a class"], rows)
    say(f"wrote {settings.output}")


def _evaluate(
    settings: TransferSettings,
    dataset: EvalDataset,
    name: str,
    encoder: Teacher,
    head_file: Path,
    results: Path,
) -> list[str]:
    """Evaluate a frozen tower with its head, append the JSON line, return the table's row."""
    head = load_head(head_file)
    with torch.no_grad():
        logits = head(_features(encoder, dataset, name))
    # The classifier of logits is the identity: each is the score of its class.
    metrics = classification_metrics(logits, torch.eye(head.classes), torch.tensor(dataset.labels))
    model = settings.teacher_name if name == _TEACHER else settings.model
    append_result(
        results,
        result_record(
            model=f"{model}, {name}",
            dataset=dataset.name,
            protocol=_protocol(settings, dataset, encoder),
            metrics=metrics,
            units=dict.fromkeys(metrics, "fraction"),
            weights_sha256=weights_sha256(encoder.model),
        ),
    )
    return [name, f"{metrics['acc1']:.2%}", f"{metrics['mean_per_class_recall']:.2%}"]


def _features(encoder: Teacher, dataset: EvalDataset, name: str) -> torch.Tensor:
    """Return float32 (N, D) of all pictures; one batch of them is held at a time."""
    progress = CurationProgress()
    pictures = iter(cast("Iterable[Image.Image]", dataset.images))  # what shards are read as
    parts: list[np.ndarray] = []
    for start in range(0, len(dataset), _BATCH):
        parts.append(encoder.encode_images(list(itertools.islice(pictures, _BATCH))))
        progress(f"evaluating, {name}", min(start + _BATCH, len(dataset)), len(dataset))
    return torch.from_numpy(np.concatenate(parts))


def _protocol(settings: TransferSettings, dataset: EvalDataset, encoder: Teacher) -> dict[str, Any]:
    return {
        "task": "linear_head_classification",
        "images": len(dataset),
        "image_size": encoder.image_size,
        "labels_per_class": settings.labels_per_class,
        "quota": settings.quota,
        "distillation_samples": settings.distillation_samples,
        "fine_tuning_samples": settings.fine_tuning_samples,
        "seed": settings.seed,
    }


def _show_training(stage: str, progress: Progress) -> None:
    parts = ", ".join(f"{name} {value:.3f}" for name, value in progress.losses.items())
    status(
        f"{stage}: step {progress.step}/{progress.steps}, {parts}, "
        f"{progress.samples_per_second:.0f} samples a second, "
        f"{duration(progress.eta_seconds)} left"
    )
