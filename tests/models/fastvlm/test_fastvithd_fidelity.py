"""Tower and projector compute what the original implementation computes.

.venv/bin/pytest tests/models/fastvlm/test_fastvithd_fidelity.py
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from realistic import relative_error
from safetensors.torch import save_file
from seeded import seeded_array, seeded_image
from torch import Tensor

from zoo import load_model
from zoo.models.checkpoint import read_checkpoint
from zoo.models.fastvlm.keys import import_state
from zoo.models.fastvlm.projector import build_projector

FIXTURES = Path(__file__).parent.parent.parent / "fixtures"
TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tower, head and projector in Apple's naming, in a file."""
    listing = json.loads((FIXTURES / "fastvithd.json").read_text())
    path = tmp_path_factory.mktemp("original") / "model.safetensors"
    save_file(seeded_state(listing["checkpoint"]), path)
    return path


def seeded_state(entries: dict[str, Any]) -> dict[str, Tensor]:
    return {
        key: torch.from_numpy(np.asarray(seeded_array(key, tuple(shape))))
        for key, (shape, _) in entries.items()
    }


@pytest.mark.parametrize("reparameterize", [False, True])
def test_features_embedding_and_projection_equal_those_of_the_original(
    original: Path, reparameterize: bool
) -> None:
    expected = {
        name: torch.from_numpy(value) for name, value in np.load(FIXTURES / "fastvithd.npz").items()
    }
    tower = load_model("fastvithd", weights=original, reparameterize=reparameterize)
    state = import_state(read_checkpoint(original), "apple")
    projector = build_projector(tower.card.feature_dim, expected["projected_256"].shape[-1])
    projector.load_state_dict(
        {key.removeprefix("projector."): state[key] for key in state if "projector" in key}
    )

    image = torch.from_numpy(seeded_image("image", 256, batch=1))
    with torch.no_grad():
        features = tower.forward_features(image)
        embedding = tower.encode_image(image)
        projected = projector(features)

    assert features.shape == (1, 16, 3072)
    assert relative_error(features[..., ::8], expected["features_256"]) <= TOLERANCE
    assert relative_error(projected, expected["projected_256"]) <= TOLERANCE
    assert relative_error(embedding, expected["embedding_256"]) <= TOLERANCE
