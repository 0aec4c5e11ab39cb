"""The random states of a process as one JSON object: Python's, numpy's, torch's on every device."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch


def random_state() -> dict[str, Any]:
    """Return every global random state; bytes as hexadecimal text."""
    numpy_name, keys, position, has_gauss, gauss = np.random.get_state(legacy=True)
    return {
        "python": random.getstate(),
        "numpy": [numpy_name, np.asarray(keys).tolist(), position, has_gauss, gauss],
        "torch": _to_text(torch.get_rng_state()),
        "cuda": [_to_text(state) for state in torch.cuda.get_rng_state_all()],
    }


def set_random_state(state: dict[str, Any]) -> None:
    """Put the process into a state of `random_state`, also after a round trip through JSON.

    The states of CUDA devices that this machine does not have are left out.
    """
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal), gauss))
    np.random.set_state(tuple(state["numpy"]))
    torch.set_rng_state(_from_text(state["torch"]))
    for device in range(min(torch.cuda.device_count(), len(state["cuda"]))):
        torch.cuda.set_rng_state(_from_text(state["cuda"][device]), device)


def _to_text(state: torch.Tensor) -> str:
    return bytes(state.tolist()).hex()


def _from_text(text: str) -> torch.Tensor:
    return torch.tensor(list(bytes.fromhex(text)), dtype=torch.uint8)
