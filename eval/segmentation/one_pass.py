"""One pass of SAM-CLIP against SAM and a CLIP apart: time and memory.

Both give a picture's feature and the masks of some boxes. SAM is the merged model without its CLIP
head. Each round times everyone once, so that a change in the machine's load falls on all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from zoo.eval.memory import peak_activation_bytes
from zoo.eval.results import Record, result_record
from zoo.eval.timing import pass_seconds, torch_threads
from zoo.models.image_text_model import ImageTextModel
from zoo.models.sam_clip.prompt_encoder import BOTTOM_RIGHT, TOP_LEFT
from zoo.models.sam_clip.prompts import Prompts
from zoo.models.sam_clip.sam_clip_model import SamClipModel

Candidate = Literal["one pass", "SAM + CLIP", "SAM alone", "CLIP alone"]
RoundCallback = Callable[[int, int], None]
MIN_ROUNDS = 5
_WARM_UP_ROUNDS = 1


@dataclass(frozen=True, kw_only=True)
class OnePassRow:
    """Figures of one candidate for one picture."""

    candidate: Candidate
    model: str
    clip: str
    image_size: int
    """Side in pixels of the picture that masks are decoded from; the merged model sees no other."""
    clip_image_size: int
    """Side in pixels of the picture that the CLIP apart sees."""
    boxes: int
    threads: int
    rounds: int
    p50_ms: float
    """Median wall time; of `SAM + CLIP` the median of both times' sums."""
    lowest_ms: float
    highest_ms: float
    cpu_p50_ms: float
    """Median processor time of the process, over all its threads."""
    parameters: int
    """Of towers, heads, prompt encoder and mask decoder; no text tower."""
    activation_bytes: int
    """Peak of live activations (`zoo.eval.memory`)."""


UNITS = {
    "p50_ms": "ms",
    "lowest_ms": "ms",
    "highest_ms": "ms",
    "cpu_p50_ms": "ms",
    "parameters": "count",
    "activation_bytes": "bytes",
}


def measure_one_pass(
    model: SamClipModel,
    clip: ImageTextModel,
    *,
    boxes: int = 8,
    threads: int = 1,
    rounds: int = MIN_ROUNDS,
    progress: RoundCallback | None = None,
) -> list[OnePassRow]:
    """Time the merged model, SAM and `clip` on one picture each and compare their memory.

    Pictures have the sizes of the models' preprocessing. `progress` gets the rounds done and their
    number. Torch's thread count is as before afterwards.

    Raises ValueError for fewer than 5 rounds, or for no box or thread.
    """
    if rounds < MIN_ROUNDS:
        raise ValueError(f"{rounds} rounds give no spread; ask for at least {MIN_ROUNDS}.")
    if boxes < 1 or threads < 1:
        raise ValueError(f"boxes={boxes} and threads={threads} must be at least 1.")
    merged, sam, alone = (
        _Timed(_Merged(model, boxes), _picture(model)),
        _Timed(_Sam(model, boxes), _picture(model)),
        _Timed(_Clip(clip), _picture(clip)),
    )
    both = _Both(sam.module, alone.module)
    with torch_threads(threads):
        times = _interleaved((merged, sam, alone), rounds, progress)
        figures: list[tuple[Candidate, np.ndarray, int, int]] = [
            ("one pass", times[0], *_memory(merged.module, merged.picture)),
            ("SAM + CLIP", times[1] + times[2], *_memory(both, sam.picture, alone.picture)),
            ("SAM alone", times[1], *_memory(sam.module, sam.picture)),
            ("CLIP alone", times[2], *_memory(alone.module, alone.picture)),
        ]
        return [
            _row(model, clip, boxes, threads, candidate, seconds, memory)
            for candidate, seconds, *memory in figures
        ]


def one_pass_record(row: OnePassRow) -> Record:
    """The JSON-lines record of a row."""
    figures = asdict(row)
    metrics = {name: figures.pop(name) for name in UNITS}
    return result_record(
        model=figures.pop("model"),
        dataset="synthetic input",
        protocol={"task": "one pass"} | figures,
        metrics=metrics,
        units=UNITS,
    )


class _Sam(nn.Module):
    """A picture → masks of boxes (boxes, 4, 4h, 4w) and their predicted IoU."""

    def __init__(self, model: SamClipModel, boxes: int) -> None:
        super().__init__()
        self.image_encoder = model.image_encoder
        self.prompt_encoder = model.prompt_encoder
        self.mask_decoder = model.mask_decoder
        self._model = (model,)  # not a submodule: its CLIP head is no part of SAM
        self._prompts = _boxes(boxes, next(model.parameters()).device)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        return self.masks(self._model[0].tokens(image))

    def masks(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        model = self._model[0]
        return model.decode_masks(model.mask_embedding(tokens), self._prompts)


class _Merged(_Sam):
    """A picture → its feature as well, of the same pass."""

    def __init__(self, model: SamClipModel, boxes: int) -> None:
        super().__init__(model, boxes)
        self.clip_head = model.clip_head

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        tokens = self._model[0].tokens(image)
        return self.clip_head(tokens), *self.masks(tokens)


class _Clip(nn.Module):
    """A picture → its feature."""

    def __init__(self, model: ImageTextModel) -> None:
        super().__init__()
        self.image_encoder = model.image_encoder
        self._model = (model,)

    def forward(self, image: Tensor) -> Tensor:
        return self._model[0].encode_image(image)


class _Both(nn.Module):
    """SAM and a CLIP, one after the other."""

    def __init__(self, sam: nn.Module, clip: nn.Module) -> None:
        super().__init__()
        self.sam = sam
        self.clip = clip

    def forward(self, image: Tensor, small: Tensor) -> tuple[Tensor, ...]:
        return self.clip(small), *self.sam(image)


@dataclass(frozen=True)
class _Timed:
    module: nn.Module
    picture: Tensor


def _interleaved(
    timed: tuple[_Timed, ...], rounds: int, progress: RoundCallback | None
) -> np.ndarray:
    """Seconds (candidates, rounds, 2): wall and processor time."""
    measured = []
    for done in range(-_WARM_UP_ROUNDS, rounds):
        measured.append([pass_seconds(one.module, one.picture) for one in timed])
        if progress is not None and done >= 0:
            progress(done + 1, rounds)
    return np.array(measured[_WARM_UP_ROUNDS:]).transpose(1, 0, 2)


def _memory(module: nn.Module, *pictures: Tensor) -> tuple[int, int]:
    parameters = sum(parameter.numel() for parameter in module.parameters())
    return parameters, peak_activation_bytes(module, *pictures)


def _row(
    model: SamClipModel,
    clip: ImageTextModel,
    boxes: int,
    threads: int,
    candidate: Candidate,
    seconds: np.ndarray,
    memory: list[int],
) -> OnePassRow:
    wall, cpu = seconds.T * 1e3
    return OnePassRow(
        candidate=candidate,
        model=model.card.name,
        clip=clip.card.name,
        image_size=model.preprocessing.image_size,
        clip_image_size=clip.preprocessing.image_size,
        boxes=boxes,
        threads=threads,
        rounds=len(seconds),
        p50_ms=float(np.median(wall)),
        lowest_ms=float(wall.min()),
        highest_ms=float(wall.max()),
        cpu_p50_ms=float(np.median(cpu)),
        parameters=memory[0],
        activation_bytes=memory[1],
    )


def _picture(model: ImageTextModel) -> Tensor:
    size, weight = model.preprocessing.image_size, next(model.parameters())
    noise = torch.rand(1, 3, size, size, generator=torch.Generator().manual_seed(0))
    return noise.to(weight.device, weight.dtype)


def _boxes(count: int, device: torch.device) -> Prompts:
    corners = torch.rand(count, 2, 2, generator=torch.Generator().manual_seed(0))
    corners = corners.sort(dim=1).values
    labels = torch.tensor([[TOP_LEFT, BOTTOM_RIGHT]]).expand(count, -1)
    return Prompts(corners.to(device), labels.to(device))
