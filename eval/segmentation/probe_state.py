"""A probe's head on the disk: with its optimizer while it is trained, alone at the end."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from zoo.models.checkpoint import write_state

_SECONDS_BETWEEN_SAVES = 60.0
_HEAD, _MOMENTS = "head.", "optimizer."


class ProbeFile:
    """A safetensors file that training goes on from, exactly, where it was stopped or killed.

    `identity` is what the training depends on: a file of another one is refused.
    """

    def __init__(self, path: Path, identity: Mapping[str, Any]) -> None:
        """Raises ValueError for a path that does not end in .safetensors."""
        if path.suffix != ".safetensors":
            raise ValueError(f"'{path}' must end in .safetensors: that is how a head is written.")
        self.path = path
        self._identity = json.dumps(identity, sort_keys=True)
        self._saved = time.monotonic()

    def restore(self, head: nn.Module, optimizer: torch.optim.Optimizer) -> int:
        """Return how many steps were taken, after giving `head` and `optimizer` their state; 0
        where there is no file.

        Raises ValueError for a damaged file and for one of another training.
        """
        if not self.path.exists():
            return 0
        state, header = _read(self.path)
        if header.get("probe") != self._identity:
            raise ValueError(
                f"'{self.path}' holds a head that was trained in another way or on other features; "
                "give another --output or remove it."
            )
        head.load_state_dict(_part(state, _HEAD))
        moments = _part(state, _MOMENTS)
        if moments:
            optimizer.load_state_dict(_with_moments(optimizer.state_dict(), moments))
        return int(header["steps"])

    def save(self, head: nn.Module, optimizer: torch.optim.Optimizer, steps: int) -> None:
        """Write the state after so many steps, once a minute at most."""
        if time.monotonic() - self._saved >= _SECONDS_BETWEEN_SAVES:
            self._write(_named(head.state_dict(), _HEAD) | _moments(optimizer), steps)

    def finish(self, head: nn.Module, steps: int) -> None:
        """Write the trained head alone."""
        self._write(_named(head.state_dict(), _HEAD), steps)

    def _write(self, state: dict[str, Tensor], steps: int) -> None:
        write_state(state, self.path, {"probe": self._identity, "steps": str(steps)})
        self._saved = time.monotonic()


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            names: list[str] = file.keys()
            return {name: file.get_tensor(name) for name in names}, file.metadata() or {}
    except SafetensorError as error:
        raise ValueError(
            f"'{path}' is damaged or no safetensors file ({error}); remove it."
        ) from error


def _named(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {prefix + key: value for key, value in state.items()}


def _part(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {key[len(prefix) :]: value for key, value in state.items() if key.startswith(prefix)}


def _moments(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """AdamW's tensors as `optimizer.PARAMETER.NAME`."""
    return {
        f"{_MOMENTS}{parameter}.{name}": value
        for parameter, values in optimizer.state_dict()["state"].items()
        for name, value in values.items()
    }


def _with_moments(state: dict[str, Any], moments: Mapping[str, Tensor]) -> dict[str, Any]:
    values: dict[int, dict[str, Tensor]] = {}
    for key, value in moments.items():
        parameter, _, name = key.partition(".")
        values.setdefault(int(parameter), {})[name] = value
    return state | {"state": values}
