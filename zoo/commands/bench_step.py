"""`zoo bench step`: our training step beside open_clip's."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import torch

from zoo.commands.bench import RESULTS
from zoo.commands.console import heading, say, show_table, status
from zoo.eval.macs import count_macs
from zoo.eval.results import append_result, result_record
from zoo.models.load import load_image_text_model
from zoo.training.benchmarks.profile import profile_step
from zoo.training.benchmarks.step import StepReport, StepRow, StepSetting, measure_step, zoo_step
from zoo.training.recipes.choices import Precision

_QUICK_ROUNDS = 5
_QUICK_BATCH_SIZE = 16
_QUICK_IMAGE_SIZE = 128


def step(
    *,
    model: str = "mobileclip2-s0",
    image_size: int = 256,
    batch_size: int = 32,
    rounds: int = 7,
    threads: int = 2,
    device: str = "cpu",
    precision: Precision = "float32",
    compiled: bool = False,
    profile: bool = True,
    quick: bool = False,
    results: Path = RESULTS,
) -> None:
    """Compare our step of plain CLIP training with open_clip's own, and show where ours spends.

    Same weights, batch, precision and threads; interleaved rounds, medians.

    Args:
        model: a name that open_clip knows too, such as mobileclip-s1 or mobileclip2-s0.
        image_size: side of the pictures, in pixels.
        batch_size: samples a step.
        rounds: timed steps on each side.
        threads: of the CPU.
        device: cpu or cuda.
        precision: of the towers, on both sides.
        compiled: time our step compiled, too; compiling takes minutes.
        profile: profile our step by kind of operation.
        quick: 5 rounds of 16 pictures of 128 pixels.
        results: file that the JSON lines are appended to.
    """
    if quick:
        rounds, batch_size, image_size = _QUICK_ROUNDS, _QUICK_BATCH_SIZE, _QUICK_IMAGE_SIZE
    if min(rounds, batch_size, image_size, threads) < 1:
        raise ValueError("Sizes and counts are at least 1.")
    setting = StepSetting(
        model=model,
        image_size=image_size,
        batch_size=batch_size,
        device=device,
        precision=precision,
        compiled=compiled,
    )
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        report = measure_step(
            setting,
            rounds=rounds,
            on_round=lambda done, total: status(f"{model}: round {done}/{total}"),
        )
        _show(setting, report, threads, rounds, results)
        if profile:
            _show_profile(setting)
    finally:
        torch.set_num_threads(before)


def _show(
    setting: StepSetting, report: StepReport, threads: int, rounds: int, results: Path
) -> None:
    flops = _step_flops(setting)
    protocol = asdict(setting) | {"threads": threads, "rounds": rounds}
    differences = {
        "loss_difference": report.loss_difference,
        "gradient_difference": report.gradient_difference,
    }
    for row in report.rows:
        metrics = {
            "speed": row.speed,
            "wall_ratio": row.ratio,
            "cpu_ratio": row.cpu_ratio,
            "flops": flops / row.seconds,
            "share_of_matrix_product": flops / row.seconds / report.peak,
        }
        append_result(
            results,
            result_record(
                model=row.name,
                dataset="random pictures and tokens",
                protocol=protocol,
                metrics=metrics | differences,
                units=_UNITS,
            ),
        )
    heading(f"{setting.model}, {setting.image_size} px, batches of {setting.batch_size}")
    show_table(_COLUMNS, [_cells(row, flops, report.peak) for row in report.rows])
    say(
        f"first step, ours against theirs: loss {report.loss_difference:.1e}, gradients "
        f"{report.gradient_difference:.1e}; matrix product {report.peak / 1e9:.0f} GFLOP/s"
    )


_UNITS = {
    "speed": "samples/s",
    "wall_ratio": "ratio to open_clip",
    "cpu_ratio": "ratio to open_clip",
    "flops": "FLOP/s",
    "share_of_matrix_product": "fraction",
    "loss_difference": "relative",
    "gradient_difference": "relative",
}
_COLUMNS = (
    "step",
    "seconds (lowest…highest)",
    "samples/s",
    "ratio",
    "CPU ratio",
    "GFLOP/s",
    "of peak",
)


def _cells(row: StepRow, flops: float, peak: float) -> list[str]:
    return [
        row.name,
        f"{row.seconds:.2f} ({row.lowest:.2f}…{row.highest:.2f})",
        f"{row.speed:.1f}",
        f"{row.ratio:.2f}",
        f"{row.cpu_ratio:.2f}",
        f"{flops / row.seconds / 1e9:.0f}",
        f"{flops / row.seconds / peak:.0%}",
    ]


def _step_flops(setting: StepSetting) -> float:
    """Three times the forward pass, train-time form, 2 a multiply-add: forward and backward."""
    model = load_image_text_model(
        setting.model, weights=None, reparameterize=False, image_size=setting.image_size
    )
    picture = torch.zeros(1, 3, setting.image_size, setting.image_size)
    text = torch.ones(1, model.card.context_length, dtype=torch.int64)
    macs = count_macs(model.image_encoder, picture) + count_macs(model.text_encoder, text)
    return 3 * 2 * macs * setting.batch_size


def _show_profile(setting: StepSetting) -> None:
    rows = profile_step(zoo_step(setting), torch.device(setting.device))
    heading("where our step spends its time")
    show_table(
        ("operations", "seconds", "share", "calls"),
        [[row.kind, f"{row.seconds:.3f}", f"{row.share:.0%}", row.calls] for row in rows],
    )
