"""Samples a second of our training step beside open_clip's own, and where our time goes.

Both train the same model from the same weights on the same batch: towers, contrastive loss,
gradient, clipping to norm 1, AdamW. Ours turns bytes into floats, checks for numbers that are not
finite and fetches the loss in every step besides; open_clip's gets floats.
"""

from __future__ import annotations

import copy
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from zoo.models.assemble import export_state
from zoo.models.image_text_model import ImageTextModel
from zoo.models.load import load_image_text_model
from zoo.reinforced_data.sidecars.header import TeacherInfo
from zoo.training.benchmarks.bare_step import BareStep
from zoo.training.benchmarks.open_clip_step import OpenClipStep
from zoo.training.precision import chosen_precision
from zoo.training.recipes.choices import Precision
from zoo.training.recipes.recipe import Recipe

PEER = "open_clip"
_MATRIX = 2048
"""Side of the matrices whose product is the arithmetic limit."""


@dataclass(frozen=True, kw_only=True)
class StepSetting:
    """What both sides are asked for."""

    model: str
    """A name that open_clip knows too."""
    image_size: int
    batch_size: int
    device: str
    precision: Precision
    compiled: bool
    """Time our step once more, compiled."""


@dataclass(frozen=True)
class StepRow:
    """One side's speed: medians over the rounds, with the lowest and the highest."""

    name: str
    seconds: float
    """A step, of wall time."""
    lowest: float
    highest: float
    speed: float
    """Samples a second."""
    ratio: float
    """Of the speed to open_clip's, the median of the rounds' ratios."""
    cpu_ratio: float
    """The same of the process's CPU time."""


@dataclass(frozen=True)
class StepReport:
    """Speeds of every side in one run, and how far our results are from open_clip's."""

    rows: list[StepRow]
    loss_difference: float
    """|ours - theirs| / |theirs| at the first step."""
    gradient_difference: float
    """Largest difference between clipped gradients of the first step / largest gradient."""
    peak: float
    """FLOPs a second of a square matrix product in the same rounds, median."""


class ZooStep:
    """Our step: call it for the loss of one more, always on the same batch."""

    def __init__(self, model: ImageTextModel, recipe: Recipe, batch: dict[str, Tensor]) -> None:
        """Train a copy of `model`, a train-time form on the batch's device, as `recipe` says."""
        self.model = copy.deepcopy(model)
        if recipe.channels_last:
            order = torch.channels_last
            self.model.image_encoder.to(memory_format=order)  # pyright: ignore[reportCallIssue]
        self._batch = batch
        self._step = BareStep(self.model, recipe, _SameBatch(batch))

    def __call__(self) -> float:
        """Make one optimizer step and return the loss that led to it."""
        return self._step(self._batch)


class _SameBatch:
    """A loader that never moves."""

    teachers: Mapping[str, TeacherInfo] = {}

    def __init__(self, batch: dict[str, Tensor]) -> None:
        self._batch = batch

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        yield self._batch

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        assert not state


def measure_step(
    setting: StepSetting, *, rounds: int, on_round: Callable[[int, int], None]
) -> StepReport:
    """Make one step on each side in turn, `rounds` times, after two that are not timed.

    Raises ValueError where open_clip's training cannot be imported or lacks the model.
    """
    model, recipe, batch = _common_start(setting)
    theirs = OpenClipStep(model, recipe, batch["image"], batch["text"])
    steps: dict[str, Callable[[], float]] = {PEER: theirs}
    ours = ZooStep(model, recipe, batch)
    steps["zoo"] = ours
    losses = {name: step() for name, step in steps.items()}
    gradient_difference = _gradient_difference(ours.model, theirs.model)
    if setting.compiled:
        steps["zoo, compiled"] = ZooStep(model, replace(recipe, compile=True), batch)
    device = batch["image"].device
    peaks: list[float] = []

    def end_round(done: int, total: int) -> None:
        peaks.append(_matrix_product(device))
        on_round(done, total)

    times = _time(steps, device, rounds, end_round)
    return StepReport(
        rows=[_row(name, times[name], times[PEER], setting.batch_size) for name in steps],
        loss_difference=abs(losses["zoo"] / losses[PEER] - 1),
        gradient_difference=gradient_difference,
        peak=statistics.median(peaks),
    )


def zoo_step(setting: StepSetting) -> ZooStep:
    """Return our step alone, for a profile."""
    return ZooStep(*_common_start(setting))


def _common_start(setting: StepSetting) -> tuple[ImageTextModel, Recipe, dict[str, Tensor]]:
    """The same weights, settings and batch for everyone; all are drawn from fixed seeds."""
    device = torch.device(setting.device)
    torch.manual_seed(0)
    model = load_image_text_model(
        setting.model,
        weights=None,
        reparameterize=False,
        device=device,
        image_size=setting.image_size,
    )
    recipe = Recipe(
        model=setting.model,
        data="",
        output=Path(),
        batch_size=setting.batch_size,
        samples_seen=1_000_000 * setting.batch_size,
        precision=chosen_precision(setting.precision, device),
        learning_rate=1e-5,
        channels_last=True,
    )
    return model, recipe, _batch(model, setting.batch_size, device)


def _batch(model: ImageTextModel, size: int, device: torch.device) -> dict[str, Tensor]:
    side = model.preprocessing.image_size
    context, vocabulary = model.card.context_length, model.card.vocab_size
    text = torch.randint(1, vocabulary - 2, (size, context))
    text[:, 0], text[:, context // 2], text[:, context // 2 + 1 :] = (
        vocabulary - 2,
        vocabulary - 1,
        0,
    )
    return {
        "image": torch.randint(0, 256, (size, 3, side, side), dtype=torch.uint8).to(device),
        "text": text.to(device),
    }


def _gradient_difference(ours: ImageTextModel, theirs: torch.nn.Module) -> float:
    gradients = copy.deepcopy(ours)
    with torch.no_grad():
        for kept, source in zip(gradients.parameters(), ours.parameters(), strict=True):
            kept.copy_(torch.zeros_like(kept) if source.grad is None else source.grad)
    named = export_state(gradients, "open_clip")
    pairs = [(named[n], p.grad) for n, p in theirs.named_parameters() if p.grad is not None]
    largest = max(float(grad.abs().max()) for _, grad in pairs)
    return max(float((mine - grad).abs().max()) for mine, grad in pairs) / largest


def _time(
    steps: Mapping[str, Callable[[], float]],
    device: torch.device,
    rounds: int,
    on_round: Callable[[int, int], None],
) -> dict[str, list[tuple[float, float]]]:
    """Wall and CPU seconds of each round's step."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in steps}
    for number in range(rounds + 1):
        for name, step in steps.items():
            wall, cpu = time.perf_counter(), time.process_time()
            step()
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            if number:
                times[name].append((time.perf_counter() - wall, time.process_time() - cpu))
        on_round(number, rounds)
    return times


def _row(
    name: str, times: list[tuple[float, float]], peer: list[tuple[float, float]], batch: int
) -> StepRow:
    walls = [wall for wall, _ in times]
    seconds = statistics.median(walls)
    pairs = list(zip(times, peer, strict=True))
    return StepRow(
        name=name,
        seconds=seconds,
        lowest=min(walls),
        highest=max(walls),
        speed=batch / seconds,
        ratio=statistics.median(theirs[0] / ours[0] for ours, theirs in pairs),
        cpu_ratio=statistics.median(theirs[1] / ours[1] for ours, theirs in pairs),
    )


def _matrix_product(device: torch.device) -> float:
    """FLOPs a second of one product of two float32 matrices."""
    matrix = torch.rand(_MATRIX, _MATRIX, device=device)
    _product_corner(matrix)
    started = time.perf_counter()
    _product_corner(matrix)
    return 2 * _MATRIX**3 / (time.perf_counter() - started)


def _product_corner(matrix: Tensor) -> float:
    """One number of the product, which waits for the device."""
    return (matrix @ matrix)[0, 0].item()
