"""Time and peak memory of the losses: fused, plain, and open_clip's own.

Three objectives, forward and backward, on random features:

    clip           contrastive, one caption a picture
    distillation   contrastive and one teacher of 768 numbers, one caption a picture
    reinforced     contrastive and two such teachers, two captions a picture (MobileCLIP's form,
                   which open_clip does not have)
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from zoo.training.losses.contrastive import contrastive_loss
from zoo.training.losses.distillation import TeacherPair, distillation_loss
from zoo.training.losses.fused import fused_loss

EMBED_DIM = 512
TEACHER_DIM = 768
LOGIT_SCALE = 100.0
TEACHER_SCALES = (70.0, 60.0)  # DFN's two teachers of MobileCLIP2 (arXiv 2508.20691)
PLAIN = "zoo, plain"

# Most float32 matrices (B, B) alive at once in a loss that makes them, measured and rounded up.
_MATRICES = {"clip": 6, "distillation": 12, "reinforced": 16}
# Every tensor gets pages of its own and gives them back, so that the peak is that of live tensors.
_OWN_PAGES = {"MALLOC_MMAP_THRESHOLD_": "65536"}


@dataclass(frozen=True, kw_only=True)
class LossCase:
    """One loss at one size."""

    objective: str
    """One of "clip", "distillation" and "reinforced"."""
    loss: str
    """One of "zoo, fused", "zoo, plain" and "open_clip"."""
    batch: int
    threads: int


@dataclass(frozen=True, kw_only=True)
class LossRow:
    """Figures of one case: medians over the rounds, with the lowest and the highest."""

    case: LossCase
    cpu_seconds: float
    """Processor time of one forward and backward pass."""
    cpu_lowest: float
    cpu_highest: float
    wall_seconds: float
    cpu_ratio: float | None
    """To the plain loss, the median of the rounds' ratios; None where that was too large."""
    peak_bytes: int
    """Most resident memory above what the process held with the features."""
    memory_ratio: float | None
    """To the plain loss."""


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """What the losses compare; two captions a picture, of which some objectives use one."""

    image: Tensor
    captions: tuple[Tensor, Tensor]
    scale: Tensor
    teachers: tuple[list[TeacherPair], list[TeacherPair]]

    @staticmethod
    def drawn(batch: int) -> Inputs:
        """Return random unit features of `batch` samples, always the same."""
        generator = torch.Generator().manual_seed(0)

        def features(size: int) -> Tensor:
            return F.normalize(torch.randn(batch, size, generator=generator), dim=-1)

        image, text, synthetic = (features(EMBED_DIM).requires_grad_() for _ in range(3))
        images = [features(TEACHER_DIM) for _ in TEACHER_SCALES]
        text_teachers, synthetic_teachers = (
            [
                TeacherPair(one, features(TEACHER_DIM), scale)
                for one, scale in zip(images, TEACHER_SCALES, strict=True)
            ]
            for _ in range(2)
        )
        return Inputs(
            image=image,
            captions=(text, synthetic),
            scale=torch.tensor(LOGIT_SCALE, requires_grad=True),
            teachers=(text_teachers, synthetic_teachers),
        )


def cases(objective: str, batch: int, *, threads: int, memory_limit: int) -> list[LossCase]:
    """Return what is compared at one size; losses that may need more bytes than the limit are out.

    Raises ValueError where open_clip is not installed.
    """
    names = ["zoo, fused"]
    if _MATRICES[objective] * 4 * batch**2 <= memory_limit:
        names.append(PLAIN)
        if objective != "reinforced":
            names.append("open_clip")
    return [
        LossCase(objective=objective, loss=name, batch=batch, threads=threads) for name in names
    ]


def measure_losses(
    compared: Sequence[LossCase],
    *,
    rounds: int,
    on_round: Callable[[int, int], None] | None = None,
) -> list[LossRow]:
    """Time the cases of one size in turn, `rounds` times after one that does not count.

    Peak memory comes from a process of its own for each. The number of torch's threads is as
    before afterwards.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(compared[0].threads)
    try:
        inputs = Inputs.drawn(compared[0].batch)
        times: list[list[tuple[float, float]]] = [[] for _ in compared]
        for number in range(rounds + 1):
            for case, measured in zip(compared, times, strict=True):
                seconds = _seconds(case, inputs)
                if number:
                    measured.append(seconds)
            if on_round is not None:
                on_round(number, rounds)
    finally:
        torch.set_num_threads(threads)
    peaks = [peak_memory(case) for case in compared]
    names = [case.loss for case in compared]
    plain = names.index(PLAIN) if PLAIN in names else None
    return [
        _row(
            case,
            times[place],
            peaks[place],
            None if plain is None else (times[plain], peaks[plain]),
        )
        for place, case in enumerate(compared)
    ]


def peak_memory(case: LossCase) -> int:
    """Return the bytes that one forward and backward pass of a case adds, in a new process."""
    code = f"import sys; from {__name__} import report_peak; report_peak(sys.argv[1])"
    finished = subprocess.run(
        [sys.executable, "-c", code, json.dumps(asdict(case))],
        env=os.environ | _OWN_PAGES,
        capture_output=True,
        text=True,
        check=False,
    )
    if finished.returncode:
        raise ValueError(
            f"The memory of {case.loss} at batch {case.batch} could not be measured "
            f"({finished.stderr.strip().splitlines()[-1:]}); try a smaller batch."
        )
    return int(finished.stdout)


def report_peak(description: str) -> None:
    """Write the bytes of `peak_memory` to standard output; `description` is a case as JSON."""
    case = LossCase(**json.loads(description))
    torch.set_num_threads(case.threads)
    step(case, Inputs.drawn(64))  # libraries make their buffers
    inputs = Inputs.drawn(case.batch)
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew (Linux, proc(5))
    before = _resident("VmRSS")
    step(case, inputs)
    sys.stdout.write(str(_resident("VmHWM") - before))


def step(case: LossCase, inputs: Inputs) -> Tensor:
    """Return the loss of a case after its backward pass."""
    for leaf in (inputs.image, *inputs.captions, inputs.scale):
        leaf.grad = None
    loss = _LOSSES[case.loss](case.objective, inputs)
    loss.backward()
    return loss.detach()


def _fused(objective: str, inputs: Inputs) -> Tensor:
    loss = torch.zeros(())
    for text, teachers in _pairs(objective, inputs):
        weight = 0.5 if teachers else 0.0
        pair = fused_loss(
            inputs.image, text, inputs.scale, teachers=teachers, distillation_weight=weight
        )
        loss = loss + pair.contrastive + pair.distillation
    return loss


def _plain(objective: str, inputs: Inputs) -> Tensor:
    loss = torch.zeros(())
    for text, teachers in _pairs(objective, inputs):
        contrastive = contrastive_loss(inputs.image, text, inputs.scale)
        if teachers:
            taught = distillation_loss(inputs.image, text, inputs.scale, teachers)
            contrastive = (contrastive + taught) / 2
        loss = loss + contrastive
    return loss


def _open_clip(objective: str, inputs: Inputs) -> Tensor:
    try:
        from open_clip.loss import ClipLoss, DistillClipLoss
    except ImportError as error:
        raise ValueError("The peer is missing; install open_clip_torch.") from error
    ((text, teachers),) = _pairs(objective, inputs)
    if not teachers:
        return ClipLoss()(inputs.image, text, inputs.scale)
    return (
        sum(DistillClipLoss()(inputs.image, text, inputs.scale, *teachers[0]), torch.zeros(())) / 2
    )


def _pairs(objective: str, inputs: Inputs) -> list[tuple[Tensor, list[TeacherPair]]]:
    """Return the captions' features of an objective, each with the teachers'."""
    count = {"clip": 0, "distillation": 1, "reinforced": 2}[objective]
    captions = 2 if objective == "reinforced" else 1
    pairs = zip(inputs.captions, inputs.teachers, strict=True)
    return [(text, teachers[:count]) for text, teachers in pairs][:captions]


_LOSSES = {"zoo, fused": _fused, PLAIN: _plain, "open_clip": _open_clip}


def _seconds(case: LossCase, inputs: Inputs) -> tuple[float, float]:
    cpu, wall = time.process_time(), time.perf_counter()
    step(case, inputs)
    return time.process_time() - cpu, time.perf_counter() - wall


def _row(
    case: LossCase,
    times: Sequence[tuple[float, float]],
    peak: int,
    plain: tuple[Sequence[tuple[float, float]], int] | None,
) -> LossRow:
    cpu = [seconds for seconds, _ in times]
    ratio = memory_ratio = None
    if plain is not None:
        reference, reference_peak = plain
        ratio = statistics.median(own / base for own, (base, _) in zip(cpu, reference, strict=True))
        memory_ratio = peak / reference_peak
    return LossRow(
        case=case,
        cpu_seconds=statistics.median(cpu),
        cpu_lowest=min(cpu),
        cpu_highest=max(cpu),
        wall_seconds=statistics.median(wall for _, wall in times),
        cpu_ratio=ratio,
        peak_bytes=peak,
        memory_ratio=memory_ratio,
    )


def _resident(field: str) -> int:
    """Return bytes of a line of /proc/self/status: VmRSS, or VmHWM, its peak."""
    lines = Path("/proc/self/status").read_text().splitlines()
    (line,) = (line for line in lines if line.startswith(f"{field}:"))
    return int(line.split()[1]) * 1024
