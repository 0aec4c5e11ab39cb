"""What reinforcement costs: waiting for data and step time, reinforced beside plain training.

Every kind trains the same model on the same shards with the same augmentation policy. Plain
training draws its augmentations; reinforced training replays stored ones, and reads captions and
two teachers' embeddings from sidecars. Kinds with the same number of captions a picture do the same
work in the towers, so that their ratio is the price of the loss and of reading.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from zoo.reinforced_data.loading.views import Pixels
from zoo.training.benchmarks.bare_step import BareStep
from zoo.training.precision import chosen_precision
from zoo.training.recipes.recipe import Recipe
from zoo.training.run import build_loader, build_model

# Kind -> (what it is compared with, fields of its recipe).
_REINFORCED: dict[str, Any] = {"task": "reinforced"}
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "plain, one caption": ("plain, one caption", {"task": "contrastive"}),
    "reinforced, one caption": (
        "plain, one caption",
        _REINFORCED | {"synthetic_ratio": 0.5, "distillation_weight": 1.0},
    ),
    "plain, both captions": (
        "plain, both captions",
        _REINFORCED | {"distillation_weight": 0.0},
    ),
    "reinforced, both captions": (
        "plain, both captions",
        _REINFORCED | {"distillation_weight": 1.0},
    ),
}


@dataclass(frozen=True, kw_only=True)
class ReinforcementSetting:
    """What every kind is asked for."""

    model: str
    shards: Path
    sidecars: Path
    batch_size: int
    workers: int
    pixels: Pixels
    device: str


@dataclass(frozen=True)
class ReinforcementRow:
    """One kind's times: medians over the rounds."""

    kind: str
    compared_with: str
    wait_seconds: float
    """For a batch."""
    step_seconds: float
    """From the batch to the end of the optimizer's step."""
    ratio: float
    """Of wait and step together, the median of the rounds' ratios."""
    step_ratio: float
    """Of the step alone."""
    lowest: float
    """Of the rounds' ratios of wait and step together."""
    highest: float


class _Training:
    """A run of one kind, one step at a time."""

    def __init__(self, setting: ReinforcementSetting, fields: Mapping[str, Any]) -> None:
        self.device = torch.device(setting.device)
        recipe = _recipe(setting, self.device, fields)
        model = build_model(recipe, self.device)
        self._loader = build_loader(recipe, model)
        self._step = BareStep(model, recipe, self._loader)
        self._batches = self._endless()

    def step(self) -> tuple[float, float]:
        """Return the seconds that the batch was waited for, and that its step took."""
        started = time.perf_counter()
        batch = next(self._batches)
        ready = time.perf_counter()
        self._step(batch)
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return ready - started, time.perf_counter() - ready

    def _endless(self) -> Iterator[dict[str, Tensor]]:
        while True:
            yield from self._loader


def measure_reinforcement(
    setting: ReinforcementSetting, *, rounds: int, on_round: Callable[[int, int], None]
) -> list[ReinforcementRow]:
    """Make a step of each kind in turn, `rounds` times, after two that are not timed.

    Raises ValueError for shards that hold less than a batch.
    """
    runs = {kind: _Training(setting, fields) for kind, (_, fields) in KINDS.items()}
    times: dict[str, list[tuple[float, float]]] = {kind: [] for kind in runs}
    for number in range(-1, rounds + 1):
        for kind, run in runs.items():
            waited, stepped = run.step()
            if number > 0:
                times[kind].append((waited, stepped))
        on_round(max(number, 0), rounds)
    return [_row(kind, KINDS[kind][0], times) for kind in runs]


def _recipe(
    setting: ReinforcementSetting, device: torch.device, fields: Mapping[str, Any]
) -> Recipe:
    reinforced = fields["task"] == "reinforced"
    return Recipe(
        model=setting.model,
        data=str(setting.shards),
        sidecars=str(setting.sidecars) if reinforced else None,
        output=Path(),
        batch_size=setting.batch_size,
        samples_seen=1_000_000 * setting.batch_size,
        learning_rate=1e-5,
        precision=chosen_precision("auto", device),
        channels_last=True,
        pixels=setting.pixels,
        workers=setting.workers,
        **fields,
    )


def _row(
    kind: str, compared_with: str, times: Mapping[str, list[tuple[float, float]]]
) -> ReinforcementRow:
    pairs = list(zip(times[kind], times[compared_with], strict=True))
    ratios = [sum(mine) / sum(theirs) for mine, theirs in pairs]
    return ReinforcementRow(
        kind=kind,
        compared_with=compared_with,
        wait_seconds=statistics.median(waited for waited, _ in times[kind]),
        step_seconds=statistics.median(stepped for _, stepped in times[kind]),
        ratio=statistics.median(ratios),
        step_ratio=statistics.median(mine[1] / theirs[1] for mine, theirs in pairs),
        lowest=min(ratios),
        highest=max(ratios),
    )
