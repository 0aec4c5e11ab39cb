"""The losses that are timed side by side compute the same thing.

Run: pytest tests/training/benchmarks/test_losses_benchmark.py
"""

from __future__ import annotations

import pytest
import torch

from zoo.training.benchmarks.losses import Inputs, cases, peak_memory, step


@pytest.mark.parametrize("objective", ["clip", "distillation", "reinforced"])
def test_all_losses_of_an_objective_agree(objective: str) -> None:
    inputs = Inputs.drawn(12)
    found = []
    for case in cases(objective, 12, threads=1, memory_limit=10**9):
        value = step(case, inputs)
        assert inputs.image.grad is not None and inputs.scale.grad is not None
        found.append((value, inputs.image.grad, inputs.scale.grad))
    assert len(found) == (2 if objective == "reinforced" else 3)
    for others in found[1:]:
        for one, other in zip(found[0], others, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_losses_that_need_too_much_memory_are_left_out() -> None:
    kept = cases("clip", 10_000, threads=1, memory_limit=10**9)
    assert [case.loss for case in kept] == ["zoo, fused"]


def test_the_fused_loss_needs_less_memory() -> None:
    fused, plain = cases("reinforced", 1024, threads=1, memory_limit=10**9)
    assert peak_memory(fused) < 0.7 * peak_memory(plain)
