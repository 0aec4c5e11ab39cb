"""The random states of a process as one JSON object: Python's, numpy's, torch's and its card's."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch

from zoo.reinforced_data.randomness import keyed_rng


def random_state() -> dict[str, Any]:
    """Return every global random state; bytes as hexadecimal text, CUDA's of the present device."""
    numpy_name, keys, position, has_gauss, gauss = np.random.get_state(legacy=True)
    uses_cuda = torch.cuda.is_initialized()
    return {
        "python": random.getstate(),
        "numpy": [numpy_name, np.asarray(keys).tolist(), position, has_gauss, gauss],
        "torch": _to_text(torch.get_rng_state()),
        "cuda": _to_text(torch.cuda.get_rng_state()) if uses_cuda else None,
    }


def set_random_state(state: dict[str, Any]) -> None:
    """Put the process into a state of `random_state`, also after a round trip through JSON.

    The state of a CUDA device is left out where none is used.
    """
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal), gauss))
    np.random.set_state(tuple(state["numpy"]))
    torch.set_rng_state(_from_text(state["torch"]))
    if state["cuda"] is not None and torch.cuda.is_initialized():
        torch.cuda.set_rng_state(_from_text(state["cuda"]))


def seed_new_rank(seed: int, rank: int, step: int) -> None:
    """Give a process that did not exist when a checkpoint was written random states of its own.

    They depend on the recipe's seed, the rank and the step alone.
    """
    python_seed, numpy_seed, torch_seed = (
        int(number)
        for number in keyed_rng(seed, "rank", rank, "step", step).integers(2**32, size=3)
    )
    random.seed(python_seed)
    np.random.seed(numpy_seed)
    torch.manual_seed(torch_seed)  # CUDA's too


def _to_text(state: torch.Tensor) -> str:
    return bytes(state.tolist()).hex()


def _from_text(text: str) -> torch.Tensor:
    return torch.tensor(list(bytes.fromhex(text)), dtype=torch.uint8)
