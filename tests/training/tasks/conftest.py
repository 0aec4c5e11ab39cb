"""What the tests of the tasks share."""

from __future__ import annotations

import pytest
import torch

from zoo.models.image_text_model import ImageTextModel
from zoo.models.load import load_model


@pytest.fixture(scope="module")
def model() -> ImageTextModel:
    torch.manual_seed(0)
    return load_model("mobileclip-tiny", weights=None, reparameterize=False)
