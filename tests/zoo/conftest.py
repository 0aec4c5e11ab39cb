"""A photograph, weights and shards that the tests of the command line share.

Used by .venv/bin/pytest tests/zoo
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from zoo.cli import main
from zoo.models.checkpoint import save_weights
from zoo.models.load import load_model

SCENES = 48


@pytest.fixture(scope="session")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pixels = np.random.default_rng(0).integers(0, 256, (7, 9, 3), dtype=np.uint8)
    path = tmp_path_factory.mktemp("photos") / "photo.jpg"
    Image.fromarray(pixels).resize((120, 90), Image.Resampling.BICUBIC).save(path)
    return path


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights of mobileclip-tiny, train-time form."""
    path = tmp_path_factory.mktemp("weights") / "weights.safetensors"
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = load_model("mobileclip-tiny", weights=None, reparameterize=False)
    save_weights(model, path)
    return path


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two shards of the tiny world and the file of its class names, as `zoo data` writes them."""
    folder = tmp_path_factory.mktemp("shards") / "world"
    flags = ["--scenes", str(SCENES), "--samples-per-shard", "24", "--max-objects", "1"]
    assert main(["data", "tiny-world", str(folder), *flags]) == 0
    return folder
