"""Small photo-like samples and a tiny random teacher.

Used by .venv/bin/pytest tests/reinforced_data
"""

import io

import numpy as np
import torch
from PIL import Image

from zoo.models.load import load_model
from zoo.reinforced_data.engine.teachers import Teacher, zoo_teacher
from zoo.reinforced_data.shards.sample import Sample

SAMPLES = 11
COLOURS = ("red", "green", "blue", "white", "black")


def jpeg(number: int) -> bytes:
    rng = np.random.default_rng(number)
    coarse = Image.fromarray(rng.integers(0, 256, (5, 6, 3), dtype=np.uint8))
    size = (int(rng.integers(60, 110)), int(rng.integers(60, 110)))
    content = io.BytesIO()
    coarse.resize(size, Image.Resampling.BICUBIC).save(content, "JPEG", quality=92)
    return content.getvalue()


def make_samples(count: int = SAMPLES) -> list[Sample]:
    return [
        Sample(
            key=f"photo{i:03d}",
            image=jpeg(i),
            captions=(f"a {COLOURS[i % 5]} thing", f"thing number {i}"),
        )
        for i in range(count)
    ]


def random_teacher(name: str, seed: int) -> Teacher:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = load_model("mobileclip-tiny", weights=None)
    return zoo_teacher(name, model, pretrained=f"random {seed}")
