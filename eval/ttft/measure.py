"""Time to first token, in parts and as a whole, candidate against candidate in one process.

Two quantities that are never mixed. `ttft_paper`: vision encoder + prefill of the visual tokens
alone, the sum that arXiv 2412.13303 calls TTFT. `ttft_e2e`: from a file on the disk to the first
token of an answer as text, by the library's public way. Each round times every candidate once, so
that a change in the machine's load falls on all of them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from zoo.eval.results import Record, result_record
from zoo.eval.timing import synchronize, torch_threads
from zoo.eval.ttft.candidate import (
    PARTS,
    Candidate,
    Description,
    Part,
)

RoundCallback = Callable[[int, int, str], None]
"""Gets the answers timed, their number, and whose turn it is."""
Seconds = tuple[float, float]
"""Wall and processor time."""

QUANTITIES = (*PARTS, "visual_prefill", "ttft_paper", "ttft_e2e")
_WARM_UP_ROUNDS = 1


@dataclass(frozen=True, kw_only=True)
class Timing:
    """Of one quantity over the rounds, in milliseconds."""

    p50: float
    lowest: float
    highest: float
    cpu_p50: float
    """Processor time of the process, over all its threads."""


@dataclass(frozen=True, kw_only=True)
class TtftRow:
    """Figures of one candidate."""

    description: Description
    threads: int
    rounds: int
    timings: Mapping[str, Timing]
    """By the names of `QUANTITIES`."""


def measure_ttft(
    candidates: Sequence[Candidate],
    picture: Path,
    *,
    threads: int = 1,
    rounds: int = 5,
    progress: RoundCallback | None = None,
) -> list[TtftRow]:
    """Time every candidate on `picture`, in interleaved rounds after one that is not counted.

    torch's thread count is as before afterwards.

    Raises ValueError for fewer than one round or thread, and what the candidates raise for what is
    no picture.
    """
    if rounds < 1 or threads < 1:
        raise ValueError(f"rounds={rounds} and threads={threads} must be at least 1.")
    measured: list[list[dict[str, Seconds]]] = [[] for _ in candidates]
    total = (rounds + _WARM_UP_ROUNDS) * len(candidates)
    with torch_threads(threads):
        for answered in range(total):
            done, turn = divmod(answered, len(candidates))
            seconds = _time(candidates[turn], picture)
            if done >= _WARM_UP_ROUNDS:
                measured[turn].append(seconds)
            if progress is not None:
                progress(answered + 1, total, candidates[turn].description.model)
    return [
        TtftRow(
            description=candidate.description,
            threads=threads,
            rounds=rounds,
            timings={name: _timing([one[name] for one in of_one]) for name in QUANTITIES},
        )
        for candidate, of_one in zip(candidates, measured, strict=True)
    ]


def ttft_record(row: TtftRow, *, picture: str) -> Record:
    """The JSON-lines record of a row."""
    metrics = {
        f"{name}_{figure}_ms": value
        for name, timing in row.timings.items()
        for figure, value in asdict(timing).items()
    }
    protocol = {"task": "ttft", "threads": row.threads, "rounds": row.rounds}
    return result_record(
        model=row.description.model,
        dataset=picture,
        protocol=protocol | asdict(row.description),
        metrics=metrics,
        units=dict.fromkeys(metrics, "ms"),
    )


def _time(candidate: Candidate, picture: Path) -> dict[str, Seconds]:
    device = next(candidate.language_model.parameters()).device
    seconds: dict[str, Seconds] = {}
    watch = _Watch(device)

    def lap(part: Part) -> None:
        seconds[part] = watch.lap()

    watch.lap()
    candidate.staged(picture, lap)
    prompt = _visual_prompt(candidate)
    watch.lap()
    _prefill(candidate.language_model, prompt)
    seconds["visual_prefill"] = watch.lap()
    candidate.first_token(picture)
    seconds["ttft_e2e"] = watch.lap()
    vision, prefill = seconds["vision"], seconds["visual_prefill"]
    seconds["ttft_paper"] = vision[0] + prefill[0], vision[1] + prefill[1]
    return seconds


class _Watch:
    """A stop watch that waits for the device."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._last = (0.0, 0.0)

    def lap(self) -> Seconds:
        """Return wall and processor seconds since the last call."""
        synchronize(self._device)
        now = time.perf_counter(), time.process_time()
        passed = now[0] - self._last[0], now[1] - self._last[1]
        self._last = now
        return passed


def _visual_prompt(candidate: Candidate) -> torch.Tensor:
    """Embeddings (1, visual tokens, hidden); time does not depend on their values."""
    weight = candidate.language_model.get_input_embeddings().weight
    tokens = candidate.description.visual_tokens
    return weight.new_full((1, tokens, weight.shape[1]), 0.02)


@torch.no_grad()
def _prefill(language_model: Any, embeddings: torch.Tensor) -> None:
    language_model(inputs_embeds=embeddings, use_cache=True, logits_to_keep=1)


def _timing(seconds: Sequence[Seconds]) -> Timing:
    wall, cpu = np.array(seconds).T * 1e3
    return Timing(
        p50=float(np.median(wall)),
        lowest=float(wall.min()),
        highest=float(wall.max()),
        cpu_p50=float(np.median(cpu)),
    )
