"""`zoo bench ttft`: time to first token, in parts and as a whole, beside transformers' models."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro
from PIL import Image

from zoo.commands.bench import RESULTS
from zoo.commands.console import duration, heading, say, show_table, status, weights_argument
from zoo.eval.results import append_result
from zoo.eval.ttft.candidate import PARTS
from zoo.eval.ttft.lineup import PEERS, Lineup, Peer
from zoo.eval.ttft.measure import TtftRow, measure_ttft, ttft_record
from zoo.eval.ttft.page import write_page
from zoo.eval.ttft.published import WHY_RATIOS_DIFFER, ratios

_PICTURE_SIDE = 1280
_PICTURE = f"a square JPEG of {_PICTURE_SIDE} pixels"


def ttft(
    *,
    models: Annotated[tuple[str, ...], tyro.conf.arg(metavar="MODELS…")] = ("fastvlm-0.5b",),
    image_sizes: tuple[int, ...] = (256, 512, 1024),
    devices: tuple[str, ...] = ("cpu",),
    dtypes: tuple[str, ...] = ("float32", "int8"),
    peers: tuple[Peer, ...] = PEERS,
    weights: str = "none",
    threads: int = 1,
    rounds: int = 5,
    quick: bool = False,
    plot: Path | None = None,
    results: Path = RESULTS,
) -> None:
    """Time FastVLM from a file to the first token of its answer, beside peers with its language
    model; interleaved rounds.

    `ttft_paper` is vision + prefill of the visual tokens alone, `ttft_e2e` everything, by the
    public way of each library; the parts are of another pass. The picture is square, so that every
    model sees all of it. Peers that do not fit into the memory are left out with a word.

    Args:
        models: FastVLMs of `zoo list`; each is a comparison of its own.
        image_sizes: pixels a side; multiples of 64.
        devices: cpu, cuda, mps, or auto; each is a comparison of its own.
        dtypes: of zoo's model; int8 is the language model's alone, on the CPU.
        peers: transformers' FastVLM in the first dtype that is floating point, and in the bfloat16
            that the published weights load in; LLaVA-1.5, SigLIP-SO400M, LLaVA-OneVision and
            ConvNeXt-L. None with `--peers` and nothing behind it.
        weights: "none" (random), "published" or a path, of zoo's model; the peers' towers have
            random ones. Time does not depend on them.
        threads: of the CPU.
        rounds: repetitions of every candidate.
        quick: fastvlm-tiny with peers as small, in seconds.
        plot: page to write: published accuracy against time, for fastvlm-0.5b.
        results: file that the JSON lines are appended to.
    """
    if quick:
        models, image_sizes, rounds = ("fastvlm-tiny",), (192, 256), 5
    rows: list[TtftRow] = []
    with tempfile.TemporaryDirectory() as folder:
        picture = _write_picture(Path(folder) / "picture.jpg")
        for model in models:
            for device in devices:
                lineup = Lineup(
                    model=model,
                    image_sizes=image_sizes,
                    device=device,
                    dtypes=dtypes,
                    peers=peers,
                    weights=weights_argument(weights),
                )
                rows += _compare(lineup, picture, threads, rounds, results)
    _show_ratios(rows)
    if plot is not None:
        write_page(rows, plot)
        say(f"{plot}: published accuracy against time to first token.")


def _compare(
    lineup: Lineup, picture: Path, threads: int, rounds: int, results: Path
) -> list[TtftRow]:
    status(f"{lineup.model}: building")
    candidates = list(lineup.candidates(lambda sentence: say(f"Left out: {sentence}")))
    if not candidates:
        return []
    rows = measure_ttft(
        candidates, picture, threads=threads, rounds=rounds, progress=_Progress(time.monotonic())
    )
    for row in rows:
        append_result(results, ttft_record(row, picture=_PICTURE))
    heading(f"{lineup.model} on {lineup.device}, {threads} threads, {rounds} rounds")
    for quantities in (PARTS, ("vision", "visual_prefill", "ttft_paper")):
        show_table(_columns(quantities), [_cells(row, quantities) for row in rows])
        say("")
    show_table((*_DESCRIPTION, *_WHOLE), [_whole_cells(row, rows[0]) for row in rows])
    return rows


@dataclass(frozen=True)
class _Progress:
    start: float

    def __call__(self, done: int, total: int, model: str) -> None:
        left = (time.monotonic() - self.start) / done * (total - done)
        status(f"{done}/{total} answers timed, {model}; {duration(left)} left")


_DESCRIPTION = ("model", "pixels", "dtype", "visual + text tokens", "tower M")


_WHOLE = ("ttft_e2e ms", "lowest…highest", "CPU ms", "CPU ratio to the first")


def _columns(quantities: tuple[str, ...]) -> tuple[str, ...]:
    return (*_DESCRIPTION, *(f"{name} ms" for name in quantities))


def _cells(row: TtftRow, quantities: tuple[str, ...]) -> list[str]:
    timings = [row.timings[name] for name in quantities]
    return _description(row) + [f"{one.p50:.1f} (CPU {one.cpu_p50:.1f})" for one in timings]


def _whole_cells(row: TtftRow, first: TtftRow) -> list[str]:
    whole = row.timings["ttft_e2e"]
    ratio = whole.cpu_p50 / first.timings["ttft_e2e"].cpu_p50
    spread = f"{whole.lowest:.1f}…{whole.highest:.1f}"
    return [*_description(row), f"{whole.p50:.1f}", spread, f"{whole.cpu_p50:.1f}", f"{ratio:.2f}"]


def _description(row: TtftRow) -> list[str]:
    about = row.description
    return [
        about.model,
        str(about.image_size),
        about.dtype,
        f"{about.visual_tokens} + {about.text_tokens}",
        f"{about.tower_parameters / 1e6:.1f}",
    ]


def _show_ratios(rows: list[TtftRow]) -> None:
    measured = [ratio for ratio in ratios(rows) if ratio.measured is not None]
    if measured:
        heading("The paper's ratios of ttft_paper, and ours")
        cells = [
            [ratio.claim, f"{ratio.published:.1f}", f"{ratio.measured:.1f}"] for ratio in measured
        ]
        show_table(("claim", "published", "here"), cells)
        say(WHY_RATIOS_DIFFER)


def _write_picture(path: Path) -> Path:
    """A picture with detail, which does not compress to nothing."""
    pixels = np.random.default_rng(0).integers(0, 256, (160, 160, 3), dtype=np.uint8)
    side = (_PICTURE_SIDE, _PICTURE_SIDE)
    Image.fromarray(pixels).resize(side, Image.Resampling.BICUBIC).save(path, quality=90)
    return path
