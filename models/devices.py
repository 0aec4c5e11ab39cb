"""Which device computes, in which number format it does so fastest, and what memory it has left."""

from __future__ import annotations

import os
from pathlib import Path

import torch


def chosen_device(device: str | torch.device | None) -> torch.device:
    """Return the device: "auto" is CUDA, else MPS, else the CPU; None is torch's default.

    Raises ValueError for a device that torch does not know or that this machine lacks.
    """
    if device == "auto":
        device = _fastest_device()
    try:
        chosen = torch.get_default_device() if device is None else torch.device(device)
    except RuntimeError as error:
        raise ValueError(
            f"Unknown device '{device}'; give cpu, cuda, mps, or auto for the fastest there is."
        ) from error
    if chosen.type not in _available_types():
        raise ValueError(
            f"This machine has no device '{chosen.type}'; it has {', '.join(_available_types())}."
        )
    return chosen


def computes_bfloat16_fast(device: torch.device) -> bool:
    """Whether bfloat16 is faster than float32 for every kind of model, in training too.

    On a CPU that takes AMX; AVX-512's bfloat16 multiplies but leaves the rest of a convolutional
    tower, which memory binds, to conversions.
    """
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device.type == "cpu" and torch.cpu._is_amx_tile_supported()


def fastest_dtype(device: torch.device) -> torch.dtype:
    """Return the number format in which `device` runs a prepared FastVLM fastest.

    On a CPU AVX-512's bfloat16 is enough for layers whose weights are packed and whose activation
    is part of them. Without it torch computes bfloat16 several times slower than float32.
    """
    if computes_bfloat16_fast(device):
        return torch.bfloat16
    if device.type == "cpu":
        return torch.bfloat16 if cpu_multiplies_bfloat16() else torch.float32
    return torch.float16


def cpu_multiplies_bfloat16() -> bool:
    """Whether this machine's CPU has units that multiply matrices of bfloat16."""
    return torch.cpu._is_avx512_bf16_supported()


def free_bytes(device: torch.device) -> int | None:
    """Return the free memory of a device; of MPS, whose memory is the CPU's, the CPU's. None where
    the system does not say."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    meminfo = Path("/proc/meminfo")
    if meminfo.is_file():
        lines = dict(line.split(":") for line in meminfo.read_text().splitlines())
        return int(lines["MemAvailable"].split()[0]) * 1024
    if "SC_PHYS_PAGES" not in os.sysconf_names:
        return None
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2


def _fastest_device() -> str:
    return next(name for name in ("cuda", "mps", "cpu") if name in _available_types())


def _available_types() -> tuple[str, ...]:
    available = {
        "cpu": True,
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "meta": True,
    }
    return tuple(name for name, is_there in available.items() if is_there)
