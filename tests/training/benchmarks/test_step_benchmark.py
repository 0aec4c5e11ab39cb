"""Our step computes what open_clip's does, and its profile adds up.

Run: pytest tests/training/benchmarks/test_step_benchmark.py
"""

from __future__ import annotations

import pytest
import torch

from zoo.training.benchmarks.profile import ELEMENTWISE, KINDS, profile_step
from zoo.training.benchmarks.step import PEER, StepSetting, measure_step


@pytest.mark.slow
def test_a_step_from_the_same_weights_has_open_clips_loss_and_gradient() -> None:
    setting = StepSetting(
        model="mobileclip2-s0",
        image_size=64,
        batch_size=4,
        device="cpu",
        precision="float32",
        compiled=False,
    )
    rounds: list[tuple[int, int]] = []
    report = measure_step(setting, rounds=1, on_round=lambda *done: rounds.append(done))
    assert report.loss_difference < 1e-5
    assert report.gradient_difference < 1e-3
    assert rounds == [(0, 1), (1, 1)]
    assert [row.name for row in report.rows] == [PEER, "zoo"]
    assert report.rows[0].ratio == 1.0
    assert all(0 < row.lowest <= row.seconds <= row.highest for row in report.rows)


def test_a_profile_says_of_each_kind_what_is_its_own() -> None:
    convolution = torch.nn.Conv2d(8, 8, 3)
    pictures = torch.rand(4, 8, 32, 32)

    def step() -> None:
        torch.nn.functional.gelu(convolution(pictures)).sum().backward()

    rows = profile_step(step, torch.device("cpu"))
    kinds = [row.kind for row in rows]
    assert {"convolution, forward", "convolution, backward", "GELU"} <= set(kinds)
    assert set(kinds) <= {*KINDS, ELEMENTWISE}
    assert len(set(kinds)) == len(kinds)
    assert sum(row.share for row in rows) == pytest.approx(1)
    assert [row.seconds for row in rows] == sorted((row.seconds for row in rows), reverse=True)
