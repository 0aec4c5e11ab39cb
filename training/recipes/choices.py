"""What recipes choose from."""

from __future__ import annotations

from typing import Literal

TaskName = Literal[
    "contrastive",
    "reinforced",
    "sigmoid",
    "captioning",
    "gated",
    "prefix",
    "task-distillation",
    "feature-distillation",
    "classification-head",
    "classification",
    "visual-instruction",
    "sam-clip",
]
REINFORCED_TASKS: tuple[TaskName, ...] = (
    "reinforced",
    "gated",
    "prefix",
    "task-distillation",
    "feature-distillation",
    "sam-clip",
)
"""Tasks that learn from what sidecars store."""
Precision = Literal["auto", "float32", "bfloat16", "float16"]
Parallel = Literal["ddp", "fsdp"]
