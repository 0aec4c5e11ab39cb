"""state.json: everything of a checkpoint that is not a tensor, and the checksums of what is."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from torch import distributed

from zoo.training.checkpoints.random_state import random_state
from zoo.training.checkpoints.same_recipe import recipe_record
from zoo.training.checkpoints.train_state import TrainState

DESCRIPTION = "state.json"
FORMAT = "zoo-training-state"
FORMAT_VERSION = 2
Description = dict[str, Any]


def describe(state: TrainState) -> Description:
    """Return the state but for its tensors, as JSON values. Every process calls it."""
    own, group = random_state(), state.world.group
    random_states: list[Any] = [own] * state.world.size
    if group is not None:
        distributed.all_gather_object(random_states, own, group=group)
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "step": state.step,
        "samples_seen": state.samples_seen,
        "recipe": recipe_record(state.recipe),
        "loader": state.loader.state_dict(),
        "scaler": None if state.scaler is None else state.scaler.state_dict(),
        "random": random_states,
    }


def description_text(description: Description, tensor_digests: Mapping[str, str]) -> bytes:
    """Return the content of state.json; `tensor_digests` are the checksums of the other files."""
    content = description | {"files": dict(tensor_digests)}
    return json.dumps(content | {"sha256": _digest(content)}).encode()


def read_description(text: bytes) -> Description:
    """Return what `description_text` was given, with `files`. Raises ValueError with a reason."""
    description = json.loads(text)
    if not isinstance(description, dict) or description.get("format") != FORMAT:
        raise ValueError(f"format is not {FORMAT}")
    if (version := description.get("format_version")) != FORMAT_VERSION:
        raise ValueError(f"format version {version}, this zoo reads {FORMAT_VERSION}")
    if description.pop("sha256", None) != _digest(description):
        raise ValueError("it changed since it was written")
    return description


def _digest(content: Description) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
