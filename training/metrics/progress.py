"""How far a run is: the figures of every logged step."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a run is; handed to `on_progress` at every logged step."""

    step: int
    """Optimizer steps done."""
    steps: int
    """Optimizer steps of the whole run."""
    samples_seen: int
    loss: float
    """Sum of `losses`, of this step's batch."""
    losses: Mapping[str, float]
    """The named losses, weights applied."""
    gauges: Mapping[str, float]
    """Other figures of the task, such as the multiplier `logit_scale`."""
    learning_rate: float
    """Rate of this step's update."""
    samples_per_second: float
    """Since the line before."""
    data_wait_fraction: float
    """Share of the time since the line before that was spent waiting for batches, 0…1."""
    evaluation: Mapping[str, float]
    """What `on_evaluate` returned at this step; empty at other steps."""
    elapsed_seconds: float
    """Since this process began to train; evaluations and checkpoints count."""
    gradient_norm: float
    """Norm of this step's whole gradient, before clipping."""
    peak_memory_bytes: int | None
    """Most memory that tensors have taken on this process's CUDA device; None on the CPU."""

    @property
    def eta_seconds(self) -> float:
        """Time to the end of the run at the present speed."""
        samples_a_step = self.samples_seen / self.step
        return (self.steps - self.step) * samples_a_step / self.samples_per_second

    def to_record(self) -> dict[str, float]:
        """Return the line of metrics.jsonl; figures of the evaluation are named `eval.NAME`.

        Left out are the memory where it is None, and a gradient norm that overflowed float16 (JSON
        cannot hold it, and that step was not made).
        """
        optional = {
            "gradient_norm": self.gradient_norm if math.isfinite(self.gradient_norm) else None,
            "peak_memory_bytes": self.peak_memory_bytes,
        }
        return {
            "step": self.step,
            "samples_seen": self.samples_seen,
            "loss": self.loss,
            **self.losses,
            "learning_rate": self.learning_rate,
            "samples_per_second": self.samples_per_second,
            "data_wait_fraction": self.data_wait_fraction,
            "elapsed_seconds": self.elapsed_seconds,
            **{name: value for name, value in optional.items() if value is not None},
            **self.gauges,
            **{f"eval.{name}": value for name, value in self.evaluation.items()},
        }
