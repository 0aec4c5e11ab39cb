"""Shards in the layout that Apple published, written by webdataset's own writer.

Used by .venv/bin/pytest tests/reinforced_data/datacompdr tests/zoo/test_data_import.py
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from tiny_shards import COLOURS, jpeg
from torchvision.transforms import InterpolationMode, RandAugment, RandomResizedCrop
from torchvision.transforms import functional as F
from webdataset.writer import TarWriter

from zoo.reinforced_data.sidecars.header import TeacherInfo

AUGMENTATIONS, CAPTIONS = 3, 2

TEACHERS = (
    TeacherInfo(
        name="first", pretrained="a", embed_dim=24, image_size=224, logit_scale=70.0, storage="fp32"
    ),
    TeacherInfo(
        name="second", pretrained="b", embed_dim=8, image_size=224, logit_scale=60.0, storage="fp32"
    ),
)


def apple_samples(count: int, *, layout: str = "npz") -> list[dict[str, Any]]:
    """What Apple's writer is given for each sample, with the picture and caption joined to it."""
    return [_sample(number, layout) for number in range(count)]


def write_tar(
    path: Path, samples: Sequence[Mapping[str, Any]], without: Sequence[str] = ()
) -> Path:
    """Write `samples` as webdataset encodes them, less the members named in `without`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with TarWriter(str(path)) as writer:
        for sample in samples:
            writer.write({key: value for key, value in sample.items() if key not in without})
    return path


def write_teachers(path: Path) -> Path:
    """Describe `TEACHERS` in a file, as a user does."""
    entries = [asdict(teacher) for teacher in TEACHERS]
    for entry in entries:
        del entry["storage"]
    path.write_text(json.dumps(entries))
    return path


def apple_view(image: bytes, entry: list[Any]) -> np.ndarray:
    """Replay one entry of `param_aug` with torchvision's own functions at 224, as Apple does."""
    (top, left, height, width), ops = entry
    picture: Any = Image.open(io.BytesIO(image)).convert("RGBA").convert("RGB")
    size, bicubic = [224, 224], InterpolationMode.BICUBIC
    picture = F.resized_crop(picture, top, left, height, width, size, bicubic)
    for index, magnitude in ops:
        picture = _apply(picture, _OPS[index], magnitude)
    return np.asarray(picture)


def unit_rows(rng: np.random.Generator, rows: int) -> np.ndarray:
    """Each teacher's vectors of length 1, end to end: float32 (rows, D)."""
    parts = [rng.standard_normal((rows, teacher.embed_dim)) for teacher in TEACHERS]
    parts = [part / np.linalg.norm(part, axis=1, keepdims=True) for part in parts]
    return np.concatenate(parts, axis=1).astype(np.float32)


_OPS = list(RandAugment()._augmentation_space(31, (224, 224)))


def _apply(picture: Any, op: str, magnitude: float) -> Any:
    from torchvision.transforms.autoaugment import _apply_op

    return _apply_op(picture, op, magnitude, InterpolationMode.NEAREST, None)


def _sample(number: int, layout: str) -> dict[str, Any]:
    rng = np.random.default_rng(number)
    image = jpeg(number)
    embeddings: dict[str, Any] = {
        "image_emb": unit_rows(rng, AUGMENTATIONS),
        "text_emb": unit_rows(rng, 1 + CAPTIONS),
    }
    if layout == "pth.gz":
        embeddings = {name: torch.from_numpy(rows).bfloat16() for name, rows in embeddings.items()}
    key = f"{number:08x}cafe"
    param_aug = [_drawn(number * 10 + a, image) for a in range(AUGMENTATIONS)]
    return {
        "__key__": key,
        "jpg": image,
        "txt": f"a {COLOURS[number % 5]} thing",
        "url.txt": f"https://example.org/{number}.jpg",
        "syn.json": json.dumps(
            {"syn_text": [f"thing {number}, view {c}" for c in range(CAPTIONS)]}
        ),
        "paug.json": json.dumps({"param_aug": param_aug}),
        layout: embeddings,
        "json": json.dumps({"uid": key, "sha256": "0" * 64}),
    }


def _drawn(seed: int, image: bytes) -> list[Any]:
    """An augmentation that torchvision draws, in the numbers that Apple records."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        width, height = Image.open(io.BytesIO(image)).size
        crop = RandomResizedCrop.get_params(
            torch.empty(3, height, width), scale=[0.08, 1.0], ratio=[3 / 4, 4 / 3]
        )
        space = RandAugment()._augmentation_space(31, (224, 224))
        ops = []
        for _ in range(2):
            index = int(torch.randint(len(_OPS), ()))
            magnitudes, signed = space[_OPS[index]]
            magnitude = float(magnitudes[9]) if magnitudes.ndim else 0.0
            if signed and torch.randint(2, ()):
                magnitude = -magnitude
            ops.append([index, magnitude])
    return [list(crop), ops]
