"""Head probing: how well a small head segments from a model's frozen features.

SAM-CLIP (arXiv 2310.15308, Table 3) trains linear and DeepLabv3 heads and does not say how; the
choices made here are recorded with every figure. Pictures are squashed to squares, as in its
zero-shot segmentation; logits are enlarged to the picture before the largest is taken.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from zoo.eval.features import ProgressCallback, reported
from zoo.eval.results import FractionResult
from zoo.eval.segmentation.labelled_pictures import LabelledPicture
from zoo.eval.segmentation.metrics import PixelScores
from zoo.eval.segmentation.probe_heads import HeadName
from zoo.eval.segmentation.probe_state import ProbeFile
from zoo.eval.segmentation.probe_training import POWER, ProbeSettings, Trainer
from zoo.models.checkpoint import weights_sha256
from zoo.models.image_text_model import ImageTextModel
from zoo.models.sam_clip.frame import enlarged

PUBLISHED: Mapping[tuple[str, HeadName], Mapping[str, float]] = {
    ("voc21", "linear"): {"SAM": 0.466, "CLIP": 0.707, "SAM-CLIP": 0.750},
    ("voc21", "deeplab"): {"SAM": 0.699, "CLIP": 0.789, "SAM-CLIP": 0.803},
    ("ade20k", "linear"): {"SAM": 0.266, "CLIP": 0.364, "SAM-CLIP": 0.384},
    ("ade20k", "deeplab"): {"SAM": 0.328, "CLIP": 0.394, "SAM-CLIP": 0.411},
}
"""mIoU of ViT-B towers by benchmark and head (Table 3): the authors' figures."""


@dataclass(frozen=True, kw_only=True)
class ProbeResult(FractionResult):
    """A trained head and its figures."""

    head: nn.Module


def probe(
    model: ImageTextModel,
    train: Sequence[LabelledPicture],
    validation: Sequence[LabelledPicture],
    class_names: Sequence[str],
    settings: ProbeSettings,
    *,
    dataset: str,
    output: str | Path,
    model_name: str | None = None,
    progress: ProgressCallback | None = None,
    scoring: ProgressCallback | None = None,
) -> ProbeResult:
    """Train a head on `model`'s frozen features of `train` and score it on `validation`.

    `output` is a .safetensors file that the head is written to; the same call goes on from it where
    it was stopped or killed, to the same head (on one machine). `progress` is told of steps,
    `scoring` of pictures.

    Raises ValueError for a loss that is not finite, an `output` of another training and pictures
    that cannot be read.
    """
    if len(train) < 1 or len(validation) < 1:
        raise ValueError(
            f"There are {len(train)} pictures to train on and {len(validation)} to score; give at "
            "least 1 of each."
        )
    # Where torchmetrics is missing, that is said before the training.
    scores = PixelScores(len(class_names))
    sha256 = weights_sha256(model)
    training = _training(settings, train, class_names)
    file = ProbeFile(Path(output), {"weights_sha256": sha256, "dataset": dataset, **training})
    trainer = Trainer(model, train, settings, len(class_names))
    trainer.run(file, progress)
    return ProbeResult(
        model=model_name or model.card.name,
        weights_sha256=sha256,
        dataset=dataset,
        head=trainer.head,
        metrics=_scored(scores, trainer, validation, scoring).figures(class_names),
        protocol={**training, "images": len(validation)},
    )


def _training(
    settings: ProbeSettings, pictures: Sequence[LabelledPicture], class_names: Sequence[str]
) -> dict[str, Any]:
    """What the head depends on, besides the model's weights."""
    names = "\0".join(picture.name for picture in pictures)
    return {
        "task": "head_probing",
        **asdict(settings),
        "optimizer": "AdamW",
        "schedule": f"polynomial {POWER}",
        "augmentation": "mirroring",
        "picture": "squashed to a square",
        "train_images": len(pictures),
        "train_sha256": hashlib.sha256(names.encode()).hexdigest(),
        "classes": len(class_names),
    }


@torch.no_grad()
def _scored(
    scores: PixelScores,
    trainer: Trainer,
    pictures: Sequence[LabelledPicture],
    progress: ProgressCallback | None,
) -> PixelScores:
    for picture in reported(pictures, progress):
        square, classes = trainer.square(picture)
        logits = enlarged(trainer.logits(square[None]), *classes.shape)
        scores.add(logits[0].argmax(dim=0), classes)
    return scores
