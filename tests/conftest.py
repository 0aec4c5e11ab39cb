"""What holds for all tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch


@pytest.fixture(scope="session", autouse=True)
def every_machine_computes_in_float32() -> Iterator[None]:
    """A FastVLM loads in what the CPU computes fastest; tests are to see the same on every CPU."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("zoo.models.fastvlm.load.fastest_dtype", lambda device: torch.float32)
        yield
