"""Which kernels torch may choose."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from zoo.training.recipes.recipe import Recipe


@contextmanager
def chosen_kernels(recipe: Recipe, device: torch.device) -> Iterator[None]:
    """Use deterministic kernels only, or on CUDA the fastest that cuDNN finds for the shapes.

    The CPU's kernels repeat exactly as they are. Torch's switches are put back in the end. Raises
    ValueError when an operation on CUDA has no deterministic kernel.
    """
    if device.type != "cuda":
        yield
        return
    # cuBLAS reads it when it is first used (docs.nvidia.com/cuda/cublas, "Reproducibility").
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    was = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(recipe.deterministic)
    cudnn = torch.backends.cudnn
    with cudnn.flags(deterministic=recipe.deterministic, benchmark=not recipe.deterministic):
        yield
    torch.use_deterministic_algorithms(was)
