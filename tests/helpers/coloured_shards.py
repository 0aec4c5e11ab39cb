"""Labelled pictures whose class is their colour, and a pool of such pictures with sidecars.

Used by .venv/bin/pytest tests/training/transfer tests/zoo/test_transfer_command.py
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from zoo.models.checkpoint import save_weights
from zoo.models.load import load_model
from zoo.reinforced_data.augmentation.policy import AugmentationPolicy
from zoo.reinforced_data.engine.reinforce import reinforce
from zoo.reinforced_data.engine.teachers import load_teacher
from zoo.reinforced_data.randomness import keyed_rng
from zoo.reinforced_data.shards.sample import Sample
from zoo.reinforced_data.shards.write import write_shards

COLOURS = ((230, 40, 40), (40, 230, 40), (40, 40, 230))


def coloured_samples(count: int, name: str) -> list[Sample]:
    """Return `count` captioned pictures, their classes in turn; `name` decides the noise."""
    return [
        Sample(
            key=f"{name}{i:03d}",
            image=_png(name, i),
            captions=("a colour",),
            label=i % len(COLOURS),
        )
        for i in range(count)
    ]


def write_world(folder: Path) -> str:
    """Write shards `labelled` (12 pictures), `validation` (9) and a reinforced `pool` (30).

    Returns the specification of the teacher that reinforced it, which has random weights.
    """
    write_shards(coloured_samples(12, "l"), folder / "labelled", samples_per_shard=7)
    write_shards(coloured_samples(9, "v"), folder / "validation")
    write_shards(coloured_samples(30, "p"), folder / "pool", samples_per_shard=16)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = load_model("mobileclip-tiny", weights=None)
    save_weights(model, folder / "teacher.safetensors")
    spec = f"sage=zoo:mobileclip-tiny@{folder / 'teacher.safetensors'}"
    reinforce(
        folder / "pool",
        teachers=[load_teacher(spec)],
        captioner=None,
        augmentations=2,
        policy=AugmentationPolicy(num_ops=0),
    )
    return spec


def _png(name: str, number: int) -> bytes:
    noise = keyed_rng(name, number).normal(0, 25, (24, 24, 3))
    pixels = np.clip(np.array(COLOURS[number % len(COLOURS)]) + noise, 0, 255).astype(np.uint8)
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG")
    return content.getvalue()
